"""Distillation: a student finds what the scorer ranks first, for users who did not teach it."""

import numpy as np
import torch

from index_store.features.ragged import Ragged
from loadtest.rivals import distillation
from loadtest.rivals.distillation import Lessons, _Network, _student, _train, distil


def planted(users, groups=8, items=400):
    """Users who reach one key, whose items are all that the scorer would answer; and the items' keys."""
    of_user, of_item = np.arange(users) % groups, np.arange(items) % groups
    answers = np.stack([np.flatnonzero(of_item == group) for group in of_user])
    random = np.random.default_rng(0)
    lessons = Lessons(random.normal(size=(users, 4)).astype(np.float32), Ragged.singles(of_user),
                      np.ones(users, np.float32), answers)
    return lessons, Ragged.singles(of_item), random.normal(size=(items, 3)).astype(np.float32)


def test_students_vectors_lead_to_the_answers_of_their_users(monkeypatch, at_least=0.95):
    monkeypatch.setattr(distillation, "EPOCHS", 60)
    lessons, item_keys, items = planted(192)
    torch.manual_seed(0)
    network = _Network(4, torch.from_numpy(items), item_keys, 8)
    _train(network, lessons, np.random.default_rng(0))
    student = _student(network)
    held = []
    for user in range(16):
        inputs = lessons.inputs[user]
        vector = (np.maximum(inputs @ student.hidden + student.hidden_bias, 0) @ student.out
                  + inputs @ student.straight + student.bias + student.keys[user % 8])
        found = np.argsort(-(student.vectors @ vector))[:lessons.answers.shape[1]]
        held.append(np.isin(lessons.answers[user], found).mean())
    assert np.mean(held) > at_least


def test_users_who_are_asked_teach_nothing(opened, query_set, monkeypatch):
    taught = []
    lessons = distillation._lessons

    def noted(opened, retriever, users):
        taught.extend(users.tolist())
        return lessons(opened, retriever, users)

    monkeypatch.setattr(distillation, "_lessons", noted)
    monkeypatch.setattr(distillation, "EPOCHS", 1)
    assert distil(opened, query_set.users, 0) is not None
    assert taught
    assert not set(taught) & set(query_set.users.tolist())


def test_there_is_no_student_without_users_who_could_teach(opened):
    assert distil(opened, np.arange(len(opened.content.users.ids)), 0) is None
