"""Search over shards: whatever their number, the answers are those of the whole index, at any beam."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from index_store.bundle.sharding import bounds_of
from index_store.search.beam_search import BeamSearch
from index_store.search.caps import Cap, Caps
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.newcomers import Newcomers
from index_store.targeting.eligibility import Eligible, PositionBitmap
from index_store.tree.tree import build_tree
from index_store.value.track_records import TrackRecords
from tests.index_store.search.fake_scorer import WEIGHTS, worlds
from tests.index_store.search.planted_shards import query, scorer_of, sharded
from tests.index_store.value.valued import random_bids, valuation

WIDTHS = st.lists(st.integers(1, 4), min_size=3, max_size=3)


@st.composite
def asked(draw):
    """A world in shards, and a search with some of targeting, exclusions, caps, bids and newcomers."""
    tree, logits, excluded, top_k = draw(worlds())
    assume(tree.depth > 1)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bounds = bounds_of(tree, draw(st.integers(1, min(5, tree.size(tree.depth - 1)))))
    bitmap = PositionBitmap.of(random.random(tree.n_items) < draw(st.sampled_from([0.1, 0.6, 1.0])))
    search = {"top_k": top_k, "task_weights": WEIGHTS,
              "eligible": Eligible.of(tree.n_items, bitmap, tree.position_of_row[excluded[:draw(st.integers(0, 9))]])}
    if draw(st.booleans()):
        search["valuation"] = valuation(tree, random_bids(tree.n_items, random))
    if draw(st.booleans()):
        values = random.integers(0, 6, tree.n_items).astype(np.int32)
        search["caps"] = Caps((Cap("brand", draw(st.integers(1, 3)), values, np.empty(0, np.int32)),))
    ensemble = tuple(level for level in range(1, tree.depth) if draw(st.integers(0, 3)) == 0)
    return tree, logits, bounds, ensemble, search


def answer(found, floor=0.0):
    kept = found if not floor else found.from_ecpm(floor)
    return (kept.rows.tolist(), kept.scores.tolist(), kept.logits.tolist(),
            None if kept.ecpm is None else kept.ecpm.tolist(), kept.eligible, kept.coverage, kept.cut_by)


@settings(max_examples=150, deadline=None)
@given(asked(), WIDTHS, st.booleans())
def test_answers_are_those_of_the_whole_index_at_any_beam(world, widths, exploring):
    tree, logits, bounds, ensemble, search = world
    if exploring:
        search["newcomers"] = Newcomers(TrackRecords.sealed(
            tree.n_items, np.random.default_rng(0).integers(0, 20, (tree.n_items, 2)).astype(np.uint16)), 10)
    ask = {**search, "beam_width": widths[:tree.depth - 1]}
    root, shards = sharded(tree, logits, bounds, ensemble)
    whole = BeamSearch(tree, scorer_of(tree, logits, ensemble)).search(query(), **ask)
    found = BeamSearch(tree, root).search(query(), **ask)
    assert answer(found) == answer(whole)
    assert found.ecpm is None or answer(found, 1000.0) == answer(whole, 1000.0)
    assert [(level.level, level.scored) for level in found.levels] == [(level.level, level.scored)
                                                                       for level in whole.levels]
    if exploring and whole.pool is not None:
        assert found.pool.rows.tolist() == whole.pool.rows.tolist()
    for shard, positions in shards.asked:
        assert positions, "a shard was asked for nothing"
        assert max(positions) < bounds[shard + 1] - bounds[shard]


@settings(max_examples=80, deadline=None)
@given(asked())
def test_answers_are_those_of_an_exhaustive_search_when_the_beam_holds_everything(world):
    tree, logits, bounds, ensemble, search = world
    root, _ = sharded(tree, logits, bounds, ensemble)
    exact = ExhaustiveSearch(tree, scorer_of(tree, logits, ensemble)).search(query(), **search)
    assert answer(BeamSearch(tree, root).search(query(), beam_width=tree.n_items, **search)) == answer(exact)
    assert answer(ExhaustiveSearch(tree, root).search(query(), **search)) == answer(exact)


@pytest.fixture
def world():
    """Eight leaf nodes of ten items in four shards; the logits of an item are its position."""
    tree = build_tree(np.arange(80)[:, None] // 10, np.zeros((80, 1), np.float32))
    return tree, [np.zeros((8, 2), np.float32), np.stack([np.arange(80), np.zeros(80)], axis=1).astype(np.float32)]


def test_only_the_shards_whose_nodes_survive_are_asked_and_each_once(world):
    tree, logits = world
    logits[0][[1, 6, 7], 0] = 1
    root, shards = sharded(tree, logits, bounds_of(tree, 4))
    found = BeamSearch(tree, root).search(query(), top_k=3, beam_width=3, task_weights=WEIGHTS)
    assert found.rows.tolist() == [79, 78, 77]
    assert shards.asked == [(0, list(range(10, 20))), (3, list(range(20)))]


def test_items_of_a_shard_that_is_away_are_left_out_and_the_answer_says_so(world):
    tree, logits = world
    root, _ = sharded(tree, logits, bounds_of(tree, 4), away=(3,))
    found = BeamSearch(tree, root).search(query(), top_k=3, beam_width=8, task_weights=WEIGHTS)
    assert (found.rows.tolist(), found.cut_by, found.narrowed) == ([59, 58, 57], ("shard",), True)
    assert (found.coverage, found.pairs_scored, found.eligible) == (0.75, 60, 80)


def test_an_answer_is_empty_and_no_error_when_all_shards_are_away(world):
    tree, logits = world
    root, _ = sharded(tree, logits, bounds_of(tree, 2), away=(0, 1))
    values = np.zeros(80, np.int32)
    for caps in (None, Caps((Cap("brand", 1, values, np.empty(0, np.int32)),))):
        found = BeamSearch(tree, root).search(query(), top_k=3, beam_width=8, task_weights=WEIGHTS, caps=caps)
        assert (len(found.rows), found.cut_by, found.coverage) == (0, ("shard",), 0.0)


def test_caps_let_no_search_go_on_beside_a_shard_that_is_away(world):
    tree, logits = world
    root, shards = sharded(tree, logits, bounds_of(tree, 4), away=(3,))
    values = (np.arange(80) // 20).astype(np.int32)
    found = BeamSearch(tree, root).search(query(), top_k=3, beam_width=2, task_weights=WEIGHTS,
                                          caps=Caps((Cap("brand", 1, values, np.empty(0, np.int32)),)))
    assert found.cut_by in ((), ("shard",))
    assert len(found.rows) <= 3
    assert len(shards.asked) < 8
