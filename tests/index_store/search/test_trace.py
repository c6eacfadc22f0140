"""What a search records of its choices."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.search.beam_search import BeamSearch
from index_store.search.trace import kept_nodes
from index_store.tree.tree import build_tree
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer, allowed, worlds


def test_choices_are_listed_in_errors():
    random = np.random.default_rng(1)
    tree = build_tree(random.integers(0, 6, (300, 2)), random.normal(size=(300, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    scorer = FakeScorer(logits)
    result = BeamSearch(tree, scorer).search("query", top_k=5, beam_width=2, task_weights=WEIGHTS, trace=True)
    assert [step.level for step in result.steps] == [1, 2, 3]
    for step in result.steps:
        assert step.nodes.tolist() == scorer.asked[step.level]
        np.testing.assert_array_equal(step.scores, logits[step.level - 1][step.nodes] @ WEIGHTS)
        assert step.scores[step.kept].min() >= step.scores[~step.kept].max()
    assert sorted(tree.rows[result.steps[-1].nodes[result.steps[-1].kept]]) == sorted(result.rows)


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(1, 4))
def test_levels_tell_how_many_were_kept_of_how_many_and_when(world, width):
    tree, logits, excluded, top_k = world
    before = time.perf_counter()
    result = BeamSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, beam_width=width, task_weights=WEIGHTS,
                                                         eligible=allowed(tree, excluded), trace=True)
    kept = {step.level: int(step.kept.sum()) for step in result.steps}
    for level in result.levels:
        assert level.kept == (kept[level.level] if level.scored else level.candidates)
        assert before <= level.began
        before = level.began + level.seconds
    assert before <= time.perf_counter()
    assert result.levels[-1].kept == len(result.rows)
    assert result.levels[-1].width == top_k
    if not len(excluded):
        assert {level.width for level in result.levels[:-1]} <= {width}


TASK = np.ones(1, np.float32)


class Highest:
    """Prefers high node numbers, so that the beam keeps the last ones of each level."""

    ensemble = ()

    def score(self, query, level, nodes):
        return nodes[:, None].astype(np.float32)


@pytest.fixture
def tree():
    """27 items, 3 children a node: nodes of level 1 are 0 to 2, of level 2 0 to 8."""
    codes = np.stack([np.arange(27) // 9, np.arange(27) // 3], axis=1)
    return build_tree(codes, np.random.default_rng(0).normal(size=(27, 4)).astype(np.float32))


@pytest.mark.parametrize(("widths", "expected"), [
    ((1, 2), ([2], [7, 8], [25, 26])),
    ((3, 2), ([0, 1, 2], [7, 8], [25, 26])),
    ((3, 9), ([0, 1, 2], list(range(9)), [25, 26])),
    ((2, 6), ([1, 2], [3, 4, 5, 6, 7, 8], [25, 26]))])
def test_kept_nodes_are_those_of_the_beam_when_levels_are_scored_or_fit(tree, widths, expected):
    found = BeamSearch(tree, Highest()).search(None, top_k=2, beam_width=widths, task_weights=TASK, trace=True)
    kept = kept_nodes(tree, found.steps)
    assert [one.row(0).tolist() for one in kept] == list(expected)
    assert {one.values.dtype for one in kept} == {np.dtype(np.int32)}
