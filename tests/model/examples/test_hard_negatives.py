"""Hard negatives: the largest spectral products, and what the correction expects of them."""

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from index_store.features.spectral import SPECTRAL_FEATURES, SpectralTowers
from index_store.features.spectral_vectors import SpectralVectors
from model.examples import hard_negatives
from model.examples.hard_negatives import HardSampler

OWN = [[0, 1, 2], [5], [], [7, 8]]
HISTORIES = Ragged.of(OWN)


@pytest.fixture
def towers():
    rng = np.random.default_rng(0)
    vectors = SpectralVectors.of(rng.normal(size=(60, 8)).astype(np.float32), np.zeros(60, np.float32))
    return SpectralTowers(vectors, np.ones(60, np.float32), np.ones(8, np.float32))


def products_of(towers):
    vectors = towers.items.dense().astype(np.float64)
    of_users = np.stack([vectors[row].sum(axis=0) for row in OWN])
    return of_users @ vectors.T


def test_the_largest_products_are_drawn_but_none_of_what_the_user_clicked(towers):
    queries, products = towers.queries(HISTORIES), products_of(towers)
    clicked = [[0, 1, 2, int(products[0, 3:].argmax()) + 3], *OWN[1:]]  # the last one is in the example's fold
    drawn = HardSampler(list(SPECTRAL_FEATURES)).draw(queries, towers.items, Ragged.of(clicked), 6,
                                                      np.random.default_rng(0))
    for user, own in enumerate(clicked):
        products[user, own] = -np.inf
        best = np.argsort(-products[user])[:6]
        assert set(drawn.items[user]) == (set(best) if OWN[user] else {-1})
    assert drawn.share == 1


def test_an_item_is_expected_by_its_product_whatever_drew_it(towers, monkeypatch):
    """Over many parts, an item is drawn as often as the correction expects at the thresholds of each part."""
    monkeypatch.setattr(hard_negatives, "PART", 30)
    sampler, queries = HardSampler(list(SPECTRAL_FEATURES)), towers.queries(HISTORIES)
    features = queries.features(towers.items, np.arange(60))
    counts, expected = np.zeros((4, 60)), np.zeros((4, 60))
    for seed in range(400):
        drawn = sampler.draw(queries, towers.items, HISTORIES, 5, np.random.default_rng(seed))
        assert drawn.share == 0.5
        reached = sampler.expected(drawn, features)
        for user in (0, 1, 3):
            counts[user, drawn.items[user]] += 1
            assert (reached[user, drawn.items[user]] == 0.5).all()
        expected += reached
    for user in (0, 1, 3):
        others = np.setdiff1d(np.arange(60), OWN[user])
        assert np.abs(counts[user, others] - expected[user, others]).max() < 60  # of 400
    assert not expected[2].any()


def test_a_user_with_few_positive_products_gets_no_others(towers):
    queries, products = towers.queries(HISTORIES), products_of(towers)
    drawn = HardSampler(list(SPECTRAL_FEATURES)).draw(queries, towers.items, HISTORIES, 58, np.random.default_rng(0))
    positive = np.setdiff1d(np.flatnonzero(products[1] > 0), OWN[1])
    assert sorted(drawn.items[1][drawn.items[1] >= 0]) == sorted(positive)
