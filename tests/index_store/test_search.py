"""Beam and exhaustive search over random trees, under a fake scorer that deals in small integers, so that many tie."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.search import BeamSearch, ExhaustiveSearch
from index_store.tree import build_tree

WEIGHTS = np.array([1.0, 2.0], np.float32)


@dataclass
class FakeScorer:
    """Two tasks' logits for every node of every level, and a record of what was asked."""

    logits: list[np.ndarray]
    asked: dict[int, list[int]] = field(default_factory=dict)

    def score(self, query, level, nodes):
        assert query == "query"
        assert level not in self.asked
        self.asked[level] = nodes.tolist()
        return self.logits[level - 1][nodes]


@st.composite
def worlds(draw):
    """A tree, a scorer over it, excluded rows (some twice) and top_k."""
    items, inner = draw(st.integers(1, 40)), draw(st.integers(0, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = random.integers(0, draw(st.integers(1, 5)), (items, inner))
    tree = build_tree(codes, random.normal(size=(items, 2)).astype(np.float32))
    logits = [random.integers(-2, 3, (tree.size(level), 2)).astype(np.float32) for level in range(1, tree.depth + 1)]
    excluded = random.integers(0, items, draw(st.integers(0, 2 * items)))
    return tree, logits, excluded, draw(st.integers(1, items + 3))


def reference(tree, logits, excluded, top_k):
    """(score, row) of the best items, by sorting all of them."""
    scores = logits[-1] @ WEIGHTS
    allowed = [(-scores[at], row) for at, row in enumerate(tree.rows.tolist()) if row not in set(excluded.tolist())]
    return [(-score, row) for score, row in sorted(allowed)[:top_k]]


def pairs(result):
    return list(zip(result.scores.tolist(), result.rows.tolist(), strict=True))


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_both_searches_agree_with_sorting_when_the_beam_is_as_wide_as_the_tree(world):
    tree, logits, excluded, top_k = world
    widest = max(tree.size(level) for level in range(1, tree.depth + 1))
    beam = BeamSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, beam_width=widest, task_weights=WEIGHTS,
                                                       excluded=excluded)
    exact = ExhaustiveSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, task_weights=WEIGHTS,
                                                              excluded=excluded)
    assert pairs(beam) == pairs(exact) == reference(tree, logits, excluded, top_k)
    np.testing.assert_array_equal(beam.logits, logits[-1][tree.position_of_row[beam.rows]])
    assert [trace.scored for trace in beam.levels[:-1]] == [0] * (tree.depth - 1)


@settings(max_examples=300, deadline=None)
@given(worlds(), st.lists(st.integers(1, 4), min_size=3, max_size=3))
def test_result_is_full_and_allowed_when_the_beam_is_narrow(world, widths):
    tree, logits, excluded, top_k = world
    scorer = FakeScorer(logits)
    result = BeamSearch(tree, scorer).search("query", top_k=top_k, beam_width=widths[:tree.depth - 1],
                                             task_weights=WEIGHTS, excluded=excluded)
    gone = set(excluded.tolist())
    assert len(result.rows) == min(top_k, tree.n_items - len(gone))
    assert len(set(result.rows.tolist())) == len(result.rows)
    assert not gone & set(result.rows.tolist())
    assert pairs(result) == sorted(pairs(result), key=lambda pair: (-pair[0], pair[1]))
    for trace, width in zip(result.levels, widths, strict=False):
        assert (trace.level in scorer.asked) == (trace.scored > 0)
        assert trace.scored in (0, trace.candidates)
        assert (trace.candidates > width) == (trace.scored > 0) or trace.level == tree.depth
    assert result.pairs_scored == sum(map(len, scorer.asked.values()))
    for level, nodes in scorer.asked.items():
        for node in nodes:
            first, end = tree.bounds(level, np.array(node))
            assert set(tree.rows[first:end].tolist()) - gone, "a node without an allowed item was scored"


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(1, 4))
def test_kept_nodes_are_the_best_when_the_first_level_is_cut(world, width):
    tree, logits, _, _ = world
    if tree.depth < 2 or tree.size(1) <= width:
        return
    scorer = FakeScorer(logits)
    BeamSearch(tree, scorer).search("query", top_k=1, beam_width=width, task_weights=WEIGHTS)
    scores = logits[0] @ WEIGHTS
    kept = sorted(sorted(range(tree.size(1)), key=lambda node: (-scores[node], node))[:width])
    expected = tree.children(1, np.array(kept)).tolist()
    if len(expected) > width or tree.depth == 2:
        assert scorer.asked[2] == expected


def test_search_refuses_when_the_beam_names_another_number_of_levels():
    tree = build_tree(np.array([[0], [1]]), np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="beam_width names 2 levels, the tree has 1"):
        BeamSearch(tree, FakeScorer([])).search("query", top_k=1, beam_width=[1, 1], task_weights=WEIGHTS)


def test_result_is_empty_when_everything_is_excluded():
    tree = build_tree(np.array([[0], [0], [1]]), np.eye(3, dtype=np.float32))
    scorer = FakeScorer([])
    result = BeamSearch(tree, scorer).search("query", top_k=2, beam_width=1, task_weights=WEIGHTS,
                                             excluded=np.array([0, 1, 2]))
    assert (len(result.rows), result.logits.shape, scorer.asked) == (0, (0, 2), {})
