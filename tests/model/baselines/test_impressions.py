"""Baselines of impressions: NE of a constant, and a regression that recovers planted weights."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.features.encoder import Features
from model.baselines.impressions import Design, constant_ne, fit, logistic_regression, normalized_entropy
from model.data.load import Events
from model.training.normalized_entropy import NormalizedEntropy
from tests.model.worlds import impressions, lists


def test_a_constant_has_ne_1_where_the_rates_agree_and_more_elsewhere(tolerance=1e-12):
    test = np.array([0, 0, 0, 1])
    assert constant_ne(np.tile(test, 5), test) == pytest.approx(1, abs=tolerance)
    assert constant_ne(np.array([0, 1]), test) > 1
    assert constant_ne(np.array([0, 0]), test) > 5
    assert constant_ne(np.array([0, 1]), np.zeros(4)) is None


def test_ne_is_what_the_models_ne_is(tolerance=1e-6):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=500).astype(np.float32), (rng.random(500) < 0.2).astype(np.float32)
    model = NormalizedEntropy(1)
    model.add(logits[:, None], labels[:, None])
    assert normalized_entropy(logits.astype(np.float64), labels) == pytest.approx(model.values()[0], abs=tolerance)


@pytest.fixture(scope="module")
def planted():
    """160,000 impressions of 60 users and 80 ads: category, a list and a number decide; and the true weights."""
    rng = np.random.default_rng(1)
    data = impressions()
    n_items = len(data.items)
    tags = lists([[1 + at % 3, 4] if at % 2 else [] for at in range(n_items)])
    items = Features(rng.normal(size=(n_items, 1)).astype(np.float32), data.items.categorical, (tags,))
    data = replace(data, items=items)
    design = Design.of(data)
    weights = rng.normal(size=design.users.shape[1] + design.items.shape[1] + 1)
    weights[-1 - n_items:-1] = 0  # ads differ by their fields alone
    weights[-1] = -1

    def events(n):
        users, ads = rng.integers(0, 60, n), rng.integers(0, n_items, n)
        log = Events(users.astype(np.int32), ads.astype(np.int32), np.arange(n), np.zeros((n, 1), np.int8))
        clicked = rng.random(n) < 1 / (1 + np.exp(-design.logits(weights, log)))
        return replace(log, labels=np.stack([clicked, clicked], axis=1).astype(np.int8))

    return data, design, weights, events(160_000), events(10_000)


def test_the_design_has_a_column_for_each_value_and_each_ad(planted):
    data, design, *_ = planted
    row = design.items[1].toarray()[0]
    assert design.users.shape == (60, 3)  # parity: unknown, 0, 1
    assert row[0] == pytest.approx(data.items.dense[1, 0])
    assert np.flatnonzero(row[1:]).tolist() == [2, 9 + 2, 9 + 4, 14 + 1]  # category, two tags, the ad


def test_a_regression_recovers_planted_weights(planted, tolerance=0.12):
    _, design, weights, train, test = planted
    found = fit(design, train, train.labels[:, 0], penalty=10.0)
    # Weights of one-hot columns are defined up to shifts between them; the logits are not.
    error = design.logits(found, test) - design.logits(weights, test)
    assert np.sqrt((error**2).mean()) < tolerance


def test_the_gradient_is_that_of_the_loss(planted, tolerance=1e-4):
    _, design, weights, train, _ = planted
    labels, step = train.labels[:, 0], 1e-4

    def loss(column, by):
        moved = weights.copy()
        moved[column] += by
        logits = design.logits(moved, train)
        return np.logaddexp(0, logits).sum() - logits[labels == 1].sum()

    residuals = 1 / (1 + np.exp(-design.logits(weights, train))) - labels
    gradient = design.gradient(residuals, train)
    for column in (0, 2, 5, len(weights) - 1):
        slope = (loss(column, step) - loss(column, -step)) / (2 * step)
        assert gradient[column] == pytest.approx(slope, rel=tolerance)


def test_ne_is_that_of_the_truth_and_the_penalty_is_chosen_on_train(planted, tolerance=0.003):
    data, design, weights, train, test = planted
    ne, penalty = logistic_regression(data, train, test, 0, seed=0)
    assert ne == pytest.approx(normalized_entropy(design.logits(weights, test), test.labels[:, 0]), abs=tolerance)
    assert penalty < 1000


def test_without_signal_it_stays_near_the_constant(planted, tolerance=0.01):
    data, _, _, train, test = planted
    rng = np.random.default_rng(2)
    train, test = (replace(log, labels=rng.permutation(log.labels)) for log in (train.where(
        np.arange(len(train)) < 2000), test))
    assert logistic_regression(data, train, test, 0, seed=0)[0] < 1 + tolerance


def test_one_penalty_is_fitted_when_there_is_no_time_for_more(planted):
    data, _, _, train, test = planted
    assert logistic_regression(data, train, test, 0, 0, more=lambda: False)[1] == 1000
