"""Newcomers: which of the scored items are in the pool of a search, against all that was scored."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.search.beam_search import BeamSearch
from index_store.search.newcomers import Newcomers
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import build_tree
from index_store.value.bids import CPM, AdBids
from index_store.value.track_records import TrackRecords
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer, allowed, worlds
from tests.index_store.search.test_caps import Rescorer, capped_world
from tests.index_store.value.valued import random_bids, valuation


def new_half(n_tree, n, random):
    """Newcomers of which about half have had fewer than ten impressions, and which ones they are by position."""
    counts = np.stack([random.integers(0, 20, n), np.zeros(n, np.int64)], axis=1)
    records = TrackRecords.sealed(n_tree, counts[:n_tree]).extended(np.full(n - n_tree, -1))
    records = records.counted(np.arange(n_tree, n), counts[n_tree:])
    return Newcomers(records, 10), counts[:, 0] < 10


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(1, 3), st.integers(0, 9))
def test_pool_holds_the_new_items_that_were_scored_and_are_not_returned(world, width, seed):
    tree, logits, excluded, top_k = world
    newcomers, new = new_half(tree.n_items, tree.n_items, np.random.default_rng(seed))
    scorer = FakeScorer(logits)
    found = BeamSearch(tree, scorer).search("query", top_k=top_k, beam_width=width, task_weights=WEIGHTS,
                                            eligible=allowed(tree, excluded), newcomers=newcomers)
    scored = np.array(scorer.asked.get(tree.depth, []), np.int64)
    returned = np.isin(tree.rows[scored], found.rows)
    assert sorted(found.pool.rows.tolist()) == sorted(tree.rows[scored[new[scored] & ~returned]].tolist())
    np.testing.assert_array_equal(found.pool.scores, found.pool.logits @ WEIGHTS)
    np.testing.assert_array_equal(found.pool.logits, logits[-1][tree.position_of_row[found.pool.rows]])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2))
def test_pool_has_nothing_twice_and_nothing_returned_when_caps_make_a_search_go_on(seed, n_caps):
    tree, logits, eligible, caps, top_k = capped_world(seed, n_caps)
    newcomers, new = new_half(tree.n_items, len(logits[-1]), np.random.default_rng(seed))
    found = BeamSearch(tree, Rescorer(logits)).search("query", top_k=top_k, beam_width=1, task_weights=WEIGHTS,
                                                      eligible=eligible, caps=caps, newcomers=newcomers)
    rows = found.pool.rows
    positions = np.where(rows < tree.n_items, tree.position_of_row.take(rows, mode="clip"), rows)
    assert len(np.unique(rows)) == len(rows)
    assert not np.isin(rows, found.rows).any()
    assert new[positions].all()
    np.testing.assert_array_equal(found.pool.logits, logits[-1][positions])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6))
def test_pool_by_ecpm_pays_and_keeps_the_floor(seed, floor):
    tree, logits, _, _, top_k = capped_world(seed, 0)
    logits, random = [*logits[:-1], logits[-1][:tree.n_items]], np.random.default_rng(seed)
    newcomers, _ = new_half(tree.n_items, tree.n_items, random)
    found = BeamSearch(tree, FakeScorer(logits)).search(
        "query", top_k=top_k, beam_width=2, task_weights=WEIGHTS, eligible=Eligible.of(tree.n_items),
        valuation=valuation(tree, random_bids(tree.n_items, random)), newcomers=newcomers)
    assert (found.pool.ecpm > 0).all()
    cut = found.from_ecpm(floor).pool
    np.testing.assert_array_equal(cut.rows, found.pool.rows[found.pool.ecpm >= floor])


def test_new_ads_of_cpm_bids_are_in_the_pool_though_the_best_bids_need_no_search():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 6, (600, 2)), random.normal(size=(600, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    newcomers, new = new_half(600, 600, random)
    bids = AdBids(random.integers(1, 300, 600), np.full(600, CPM, np.uint8))
    found = BeamSearch(tree, FakeScorer(logits)).search(
        "query", top_k=20, beam_width=3, task_weights=WEIGHTS, valuation=valuation(tree, bids), newcomers=newcomers)
    assert found.ecpm.tolist() == sorted(bids.micros.tolist(), reverse=True)[:20]
    assert len(found.pool)
    assert new[tree.position_of_row[found.pool.rows]].all()
