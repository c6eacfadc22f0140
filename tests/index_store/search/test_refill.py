"""Beam searches that caps leave short, over random trees in which a node holds few values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.search.beam_search import BeamSearch
from index_store.search.caps import Cap, Caps
from index_store.search.explain import Explainer
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import build_tree
from tests.index_store.search.fake_scorer import WEIGHTS, PlantedTime
from tests.index_store.search.test_caps import Rescorer, capped_world, search, walk
from tests.index_store.value.valued import random_bids, valuation


def rows_of(tree, positions):
    return np.array([tree.rows[at] if at < tree.n_items else at for at in positions], np.int64)


def check_full(world, found):
    """A result that the caps allow and to which they let nothing be added; under one cap, as long as can be."""
    tree, _, eligible, caps, top_k = world
    rows = rows_of(tree, eligible.positions())
    assert set(found.rows.tolist()) <= set(rows.tolist())
    assert caps.passed(found.rows).all()
    assert len(found.rows) == top_k or not caps.open(rows, found.rows).any()
    if len(caps.caps) == 1:
        counts = np.unique(caps.caps[0].values(rows), return_counts=True)[1]
        assert len(found.rows) == min(top_k, int(np.minimum(counts, caps.caps[0].most).sum()))
    assert (found.eligible, found.coverage) == (eligible.total, 1.0)
    assert [trace.level for trace in found.levels] == sorted({trace.level for trace in found.levels})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_result_holds_as_many_items_as_the_caps_allow(seed, n_caps, width):
    world = tree, logits, eligible, caps, _ = capped_world(seed, n_caps)
    found = search(BeamSearch, world, beam_width=width, trace=True)
    check_full(world, found)
    scores = logits[-1] @ WEIGHTS
    positions = np.where(found.rows < tree.n_items, tree.position_of_row.take(found.rows, mode="clip"), found.rows)
    np.testing.assert_array_equal(found.scores, scores[positions])
    assert (np.diff(found.scores) <= 0).all()
    explainer = Explainer(tree, found, None if eligible.placed is None else eligible.placed.items, caps, world[-1])
    for row in rows_of(tree, eligible.positions()[:10]).tolist():
        told = explainer.explain(row, True)
        assert (told.outcome == "returned") == (row in found.rows)
        assert (told.outcome == "capped") == (told.cap is not None)
        assert told.outcome != "cut_short"
        assert len(found.rows) == world[-1] or told.outcome in ("returned", "capped")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_result_by_ecpm_holds_as_many_items_as_the_caps_allow(seed, width):
    tree, logits, _, caps, top_k = capped_world(seed, 1)
    world = (tree, [*logits[:-1], logits[-1][:tree.n_items]], Eligible.of(tree.n_items), caps, top_k)
    by_ecpm = valuation(tree, random_bids(tree.n_items, np.random.default_rng(seed)))
    found = search(BeamSearch, world, beam_width=width, valuation=by_ecpm)
    check_full(world, found)
    whole = search(BeamSearch, world, beam_width=tree.n_items, valuation=by_ecpm)
    worth = by_ecpm.of_items(np.arange(tree.n_items), world[1][-1], world[1][-1] @ WEIGHTS)
    assert whole.rows.tolist() == walk(tree, world[2], worth, caps, top_k)[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.floats(-10, 500), min_size=1, max_size=6))
def test_search_ends_with_what_it_has_when_time_is_short(seed, affords):
    world = capped_world(seed, 2)
    whole = search(BeamSearch, world, beam_width=1)
    hurried = search(BeamSearch, world, beam_width=1, deadline=PlantedTime(affords))
    assert world[3].passed(hurried.rows).all()
    assert 0 <= hurried.coverage <= 1
    if not hurried.narrowed:
        assert hurried.rows.tolist() == whole.rows.tolist()


def test_search_goes_on_where_the_best_node_holds_one_value():
    values = np.repeat(np.arange(10, dtype=np.int32), 100)
    tree = build_tree(values[:, None].astype(np.int64), np.ones((1000, 2), np.float32))
    scores = -np.arange(10, dtype=np.float32)
    logits = [np.stack([scores, scores], 1), np.zeros((1000, 2), np.float32)]
    caps = Caps((Cap("brand", 2, values, np.empty(0, np.int32)),))

    def found(deadline=None):
        return BeamSearch(tree, Rescorer(logits)).search("query", top_k=6, beam_width=1, task_weights=WEIGHTS,
                                                         caps=caps, deadline=deadline, trace=True)

    whole = found()
    assert np.bincount(values[whole.rows]).tolist() == [2, 2, 2]  # those of the best nodes, and no others were scored
    assert [(level.level, level.scored) for level in whole.levels] == [(1, 19), (2, 300)]
    assert [(level.kept, level.width) for level in whole.levels] == [(1 + 2, 2), (2 + 4, 6)]  # of both rounds
    told = Explainer(tree, whole, None, caps, 6)
    assert told.explain(999, True).outcome == "pruned"
    assert told.explain(99, True).outcome == "capped"
    short = found(PlantedTime([1000.0, 0.0]))
    assert (len(short.rows), short.narrowed) == (2, True)
    assert short.coverage == pytest.approx(110 / (110 + 900))
