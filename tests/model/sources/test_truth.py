"""The truth of a world: exact probabilities, the Bayes NE, and the best ads of a user."""

import dataclasses

import numpy as np
import pytest

from model.data.tables import DataError
from model.sources.truth import TrueWorld, normalised_entropy
from model.sources.world import rested_logits, sigmoid
from tests.model.data.logs import assert_calibrated
from tests.model.planted import ADS, USERS


def test_test_labels_follow_the_planted_probabilities(world):
    _, data, truth = world
    probabilities = sigmoid(truth.pair_logits(data.test.users, data.test.items))
    for task in range(2):
        assert_calibrated(probabilities[:, task], data.test.labels[:, task])


def test_bayes_ne_is_below_one_and_no_other_probabilities_do_better(world):
    _, data, truth = world
    bayes = truth.bayes_ne(data.test)
    logits = truth.pair_logits(data.test.users, data.test.items)
    for task, name in enumerate(("click", "conversion")):
        labels = data.test.labels[:, task]
        assert bayes[name] == pytest.approx(normalised_entropy(sigmoid(logits[:, task]), labels))
        assert bayes[name] < 0.9
        for wrong in (logits[:, task] * 0.5, logits[:, task] + 0.7, np.full(len(labels), logits[:, task].mean())):
            assert normalised_entropy(sigmoid(wrong), labels) > bayes[name]


def test_normalised_entropy_of_the_mean_rate_is_one():
    labels = np.array([0, 0, 0, 1])
    assert normalised_entropy(np.full(4, 0.25), labels) == pytest.approx(1.0)
    assert np.isnan(normalised_entropy(np.full(2, 0.5), np.zeros(2, int)))


def test_top_k_equals_a_plain_sort_with_ties_by_row(world):
    truth = world[2]
    copies = truth.ads.take(np.repeat(np.arange(ADS), 2))  # every ad twice: half of all neighbours in rank are ties
    twice = dataclasses.replace(truth, ads=copies)
    for user in (0, 7, USERS - 1):
        logits = twice.logits(np.array([user]), None)[0, :, 0]
        plain = sorted(range(2 * ADS), key=lambda row: (-logits[row], row))
        assert twice.top_k(user, 25).tolist() == plain[:25]


def test_logits_of_all_pairs_are_those_of_single_pairs(world):
    truth = world[2]
    users, items = np.array([3, 900, 4]), np.array([5, 17])
    logits = truth.logits(users, items)
    assert logits.shape == (3, 2, 2)
    pairs = truth.pair_logits(np.repeat(users, 2), np.tile(items, 3)).reshape(3, 2, 2)
    assert np.array_equal(logits, pairs)
    assert np.array_equal(truth.logits(users, None)[:, items], logits)
    click, conversion = np.moveaxis(sigmoid(logits), -1, 0)
    given_click = sigmoid(rested_logits(truth.users.take(users).column(), truth.ads.take(items))[1])
    assert conversion == pytest.approx(click * given_click, rel=1e-5)


def test_truth_is_refused_when_the_data_is_not_synthetic(tmp_path):
    with pytest.raises(DataError, match="has a truth"):
        TrueWorld.open(tmp_path)


def test_the_bayes_ne_of_a_task_with_one_class_is_none(world):
    _, data, truth = world
    clicks = data.test.where(data.test.labels[:, 0] == 1)
    found = truth.bayes_ne(clicks)
    assert found["click"] is None
    assert found["conversion"] > 0
