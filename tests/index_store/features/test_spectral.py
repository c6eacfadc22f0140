"""Spectral towers against the products that their definition names."""

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from index_store.features.spectral import PRODUCTS, RANKS, SPECTRAL_FEATURES, SpectralTowers
from index_store.features.spectral_vectors import SpectralVectors


@pytest.fixture(params=[80, 300])
def towers(request):
    """Towers of 60 items in fewer directions than 8 bits are for, and in more."""
    rng, directions = np.random.default_rng(0), request.param
    vectors = rng.normal(size=(60, directions)).astype(np.float32)
    stored = SpectralVectors.of(vectors, np.log1p(rng.integers(0, 50, 60)).astype(np.float32))
    return SpectralTowers(stored, rng.random(60).astype(np.float32),
                          np.linspace(1, 0.1, directions).astype(np.float32))


def test_products_are_relative_to_the_users_own_items(towers):
    history = Ragged.of([[3, 9, 4], [], [7]])
    found = towers.queries(history).features(towers.items, np.arange(60))
    items, weight, directions = towers.items.dense(), towers.weights, towers.items.directions
    for user in (0, 2):
        own = history.row(user)
        vector = weight[own] @ items[own]
        for place, rank in enumerate((*RANKS, directions)):
            cut = min(rank, directions)
            mean_of_own = vector[:cut] @ vector[:cut] / len(own)
            wanted = np.log1p(10 * np.maximum(items[:, :cut] @ vector[:cut] / mean_of_own, 0))
            np.testing.assert_allclose(found[user, :, place], wanted, rtol=1e-3, atol=1e-4)
        by_strength = vector * towers.strengths**2
        wanted = np.log1p(10 * np.maximum(items @ by_strength / (by_strength @ vector / len(own)), 0))
        np.testing.assert_allclose(found[user, :, len(RANKS) + 1], wanted, rtol=1e-3, atol=1e-4)
        wanted = np.log(0.01 + np.maximum(items @ vector * 60 / directions, 0))
        np.testing.assert_allclose(found[user, :, PRODUCTS - 1], wanted, rtol=1e-3, atol=1e-3)
    assert found.shape[2] == len(SPECTRAL_FEATURES)
    np.testing.assert_allclose(found[:, 0, -1], np.log1p([3, 0, 1]), rtol=1e-6)
    np.testing.assert_array_equal(found[0, :, -2], towers.items.popularity)


def test_a_weighted_sum_of_the_products_is_one_inner_product(towers):
    queries, weights = towers.queries(Ragged.of([[3, 9, 4], [], [7]])), np.linspace(-1, 2, PRODUCTS).astype(np.float32)
    features = queries.features(towers.items, np.arange(60))[:, :, :PRODUCTS]
    numbers = np.concatenate([np.expm1(features[:, :, :-1]) / 10, np.exp(features[:, :, -1:]) - 0.01], axis=2)
    positive = (numbers > 1e-6).all(axis=2)  # those below zero count as zero there
    assert positive.sum() > 20
    products = queries.weighted_sum(weights) @ towers.items.dense().T
    np.testing.assert_allclose(products[positive], (numbers @ weights)[positive], rtol=1e-3, atol=1e-3)
    assert not products[1].any()


def test_a_user_without_history_has_no_products(towers):
    found = towers.queries(Ragged.of([[]])).features(towers.items, np.arange(60))
    assert not found[:, :, :PRODUCTS - 1].any()
    assert np.isfinite(found).all()


def test_each_user_can_have_candidates_of_its_own(towers):
    queries, rows = towers.queries(Ragged.of([[3, 9], [1]])), np.array([[5, 2, 5], [8, 0, 1]])
    everything = queries.features(towers.items, np.arange(60))
    np.testing.assert_allclose(queries.features(towers.items, rows), everything[np.arange(2)[:, None], rows],
                               rtol=1e-5, atol=1e-5)


def test_pairs_have_the_features_of_their_users_candidates(towers, tolerance=1e-5):
    queries, rng = towers.queries(Ragged.of([[3, 9], [], [1]])), np.random.default_rng(1)
    users, rows = rng.integers(0, 3, 300), rng.integers(0, 60, 300)
    found = queries.pair_features(towers.items, users, rows)
    expected = queries.features(towers.items, np.arange(60))[users, rows]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert queries.pair_features(towers.items, users[:0], rows[:0]).shape == (0, len(SPECTRAL_FEATURES))


def test_a_part_of_the_users_has_their_features(towers):
    queries = towers.queries(Ragged.of([[3, 9], [1], [4, 5, 6]]))
    part, rows = queries.part(slice(1, 3)), np.arange(20)
    assert np.array_equal(part.features(towers.items, rows), queries.features(towers.items, rows)[1:])


def test_towers_in_another_order_give_the_same(towers):
    order = np.random.default_rng(2).permutation(60)
    places = np.argsort(order)
    moved, history = towers.ordered(order, places), Ragged.of([[3, 9, 4]])
    np.testing.assert_array_equal(moved.queries(history).features(moved.items, places[[5, 6]]),
                                  towers.queries(history).features(towers.items, np.array([5, 6])))
