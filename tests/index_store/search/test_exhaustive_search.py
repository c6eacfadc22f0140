"""Exhaustive search under a fake scorer."""


import numpy as np
import pytest
from hypothesis import given, settings

from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import LEAST_BLOCK
from index_store.tree.tree import build_tree
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer, PlantedTime, allowed, pairs, reference, worlds


def test_exhaustive_search_scores_some_when_no_time_is_left():
    tree = build_tree(np.zeros((3 * LEAST_BLOCK, 1), np.int64), np.ones((3 * LEAST_BLOCK, 2), np.float32))
    logits = [np.zeros((1, 2), np.float32), np.zeros((3 * LEAST_BLOCK, 2), np.float32)]
    result = ExhaustiveSearch(tree, FakeScorer(logits)).search("query", top_k=5, task_weights=WEIGHTS,
                                                               deadline=PlantedTime([0.0]))
    assert (result.pairs_scored, result.coverage, len(result.rows)) == (LEAST_BLOCK, pytest.approx(1 / 3), 5)


def test_items_without_logits_are_left_out_and_the_result_says_so():
    tree = build_tree(np.zeros((6, 0), np.int64), np.ones((6, 2), np.float32))
    logits = np.ones((6, 2), np.float32) * np.array([1, 2, np.nan, 3, np.nan, 0], np.float32)[:, None]
    result = ExhaustiveSearch(tree, FakeScorer([logits])).search("query", top_k=4, task_weights=WEIGHTS)
    assert result.rows.tolist() == [3, 1, 0, 5]
    assert (result.cut_by, result.coverage, result.pairs_scored) == (("shard",), pytest.approx(2 / 3), 4)


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_result_is_that_of_sorting_all_eligible_items(world):
    tree, logits, excluded, top_k = world
    scorer = FakeScorer(logits)
    found = ExhaustiveSearch(tree, scorer).search("query", top_k=top_k, task_weights=WEIGHTS,
                                                  eligible=allowed(tree, excluded))
    assert pairs(found) == reference(tree, logits, excluded, top_k)
    assert found.pairs_scored == found.eligible == tree.n_items - len(set(excluded.tolist()))
    assert found.coverage == 1.0
