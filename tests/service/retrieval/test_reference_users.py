"""The sample of users for whom new ads are scored."""

import dataclasses

import numpy as np

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from service.retrieval import reference_users
from service.retrieval.reference_users import reference_queries


def tower(inputs):
    return inputs[:, :8]


def test_sample_has_users_with_a_history_and_is_the_same_each_time(tiny_bundle, monkeypatch):
    content = Bundle.open(tiny_bundle).content
    active = np.flatnonzero(content.users.history.lengths)
    monkeypatch.setattr(reference_users, "USERS", 40)
    assert len(reference_queries(content, tower)) == len(active) < 40
    monkeypatch.setattr(reference_users, "USERS", 5)
    first, second = (reference_queries(content, tower) for _ in range(2))
    assert [query.embedding.tolist() for query in first] == [query.embedding.tolist() for query in second]
    assert len(first) == 5


def test_sample_is_an_unknown_user_when_nobody_has_a_history(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    users = dataclasses.replace(content.users, history=Ragged.of([[]] * 40))
    (query,) = reference_queries(dataclasses.replace(content, users=users), tower)
    assert not len(query.hits.keys)
