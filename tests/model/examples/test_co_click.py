"""Co-click weights against a slow reference."""

import numpy as np
import pytest

from model.examples import co_click as module
from model.examples.co_click import SHRINKAGE, co_click
from tests.model.worlds import lists


def test_co_click_equals_a_slow_reference(tolerance=1e-6):
    rng = np.random.default_rng(3)
    histories = lists([rng.permutation(10)[: rng.integers(0, 6)].tolist() for _ in range(40)])
    keys = lists([[n + 1] for n in range(10)])
    neighbours, weights = co_click(histories, keys, 11, neighbours=4)
    has = np.zeros((40, 11))
    for u in range(40):
        has[u, histories.row(u) + 1] = 1
    counts = has.T @ has
    popularity = counts.diagonal().copy()
    np.fill_diagonal(counts, 0)
    expected = counts / (np.sqrt(np.outer(popularity, popularity)) + SHRINKAGE)
    for key in range(11):
        order = np.lexsort((np.arange(11), -expected[key]))[:4]
        order = order[expected[key, order] > 0]
        assert neighbours.row(key).tolist() == order.tolist()
        found = weights[neighbours.indptr[key]:neighbours.indptr[key + 1]]
        assert np.allclose(found, expected[key, order], atol=tolerance)


def test_a_field_key_is_its_own_neighbour_for_those_who_clicked_two_of_it():
    keys = lists([[1], [1], [2]])
    neighbours, weights = co_click(lists([[0, 1], [0], [2]]), keys, 3, neighbours=5)
    assert neighbours.row(1).tolist() == [1]
    assert weights[0] == pytest.approx(1 / (2 + SHRINKAGE))
    assert neighbours.row(2).tolist() == []


def test_blocks_give_the_same_neighbours(monkeypatch):
    rng = np.random.default_rng(4)
    histories = lists([rng.permutation(10)[:rng.integers(0, 6)].tolist() for _ in range(40)])
    keys = lists([[n + 1] for n in range(10)])
    whole = co_click(histories, keys, 11, neighbours=4)
    monkeypatch.setattr(module, "_BLOCK_PAIRS", 30)
    blocks = co_click(histories, keys, 11, neighbours=4)
    assert np.array_equal(whole[0].indptr, blocks[0].indptr)
    assert np.array_equal(whole[0].values, blocks[0].values)
    assert np.array_equal(whole[1], blocks[1])
