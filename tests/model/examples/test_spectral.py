"""The fit of spectral towers against a dense singular value decomposition, and on planted clusters."""

import numpy as np

from index_store.features.ragged import Ragged
from index_store.features.spectral_vectors import HEAD
from model.examples.spectral import ITEM_POWER, MOST_RANK, spectral_towers


def random_histories(users, items, rng, most=9):
    return Ragged.of([rng.permutation(items)[:rng.integers(1, most)] for _ in range(users)])


def test_item_vectors_span_the_strongest_directions_of_the_normalised_clicks():
    rng = np.random.default_rng(0)
    histories = random_histories(300, 24, rng)
    towers = spectral_towers(histories, 24, seed=0)
    clicks = np.zeros((300, 24))
    clicks[np.repeat(np.arange(300), histories.lengths), histories.values] = 1
    counts = clicks.sum(axis=0)
    _, strengths, directions = np.linalg.svd(clicks / np.sqrt(clicks.sum(axis=1, keepdims=True) * counts))
    rank = len(towers.strengths)
    assert rank == 12
    np.testing.assert_allclose(towers.strengths, strengths[:rank], rtol=1e-3)
    found = towers.items.dense() / counts[:, None]**ITEM_POWER
    top = directions[:4].T  # the last ones of a few iterations are not exact yet
    np.testing.assert_allclose(found[:, :4] @ found[:, :4].T, top @ top.T, atol=0.02)
    np.testing.assert_allclose(towers.weights * counts**(2 * ITEM_POWER), 1, rtol=1e-5)


def test_a_repeated_click_counts_once():
    rng = np.random.default_rng(1)
    once = random_histories(50, 12, rng)
    twice = Ragged.of([np.concatenate([row, row]) for row in map(once.row, range(50))])
    a, b = spectral_towers(once, 12, seed=0), spectral_towers(twice, 12, seed=0)
    np.testing.assert_array_equal(a.items.values, b.items.values)
    np.testing.assert_array_equal(a.items.popularity, b.items.popularity)


def test_items_of_the_users_own_cluster_have_the_largest_products():
    rng = np.random.default_rng(2)
    histories = Ragged.of([rng.permutation(20)[:5] + 20 * (user % 3) for user in range(90)])
    towers = spectral_towers(histories, 60, seed=0)
    products = towers.queries(Ragged.of([[21, 22, 23]])).features(towers.items, np.arange(60))[0, :, 4]
    others = np.delete(np.arange(20, 40), [1, 2, 3])
    assert products[others].mean() > 2 * products[np.r_[0:20, 40:60]].mean()


def test_logs_without_clicks_and_of_one_item_have_towers():
    for histories, items in ((Ragged.of([[], []]), 3), (Ragged.of([[0]]), 1)):
        towers = spectral_towers(histories, items, seed=0)
        found = towers.queries(Ragged.of([[0]])).features(towers.items, np.arange(items))
        assert np.isfinite(found).all()


def test_a_log_of_many_users_and_items_has_all_directions_and_an_odd_rank_loses_one():
    rng = np.random.default_rng(3)
    histories = random_histories(1200, 1100, rng)
    assert spectral_towers(histories, 1100, seed=0).items.directions == MOST_RANK
    towers = spectral_towers(Ragged.of([histories.row(user) for user in range(2 * HEAD + 6)]), 1100, seed=0)
    assert towers.items.directions == len(towers.strengths) == HEAD + 2
