"""Live bids: the best bid below each node against that of all its members, and the best of all, whatever changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.targeting.eligibility import Eligible, PlacedMembers, PositionBitmap
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import build_tree
from index_store.value import bids as module
from index_store.value.bids import BID_TYPES, AdBids, Bid
from index_store.value.live_bids import AddedBids, LiveBids
from tests.index_store.value.valued import random_bids


def plain_best(bids):
    """The best bid below each node of each type that pays for a label, by looking at all ads."""
    tree, added = bids.tree, bids.added
    best = [np.zeros((tree.size(level), 3), np.int64) for level in range(1, tree.depth)]
    for level, found in enumerate(best, start=1):
        for position, bid in enumerate(bids.listed(np.arange(tree.n_items))):
            if bid is not None and (bids.live is None or bids.live.contains(np.array([position]))[0]):
                node, kind = tree.node_at(level, position), ("CPM", "CPC", "CPA").index(bid.type)
                found[node, kind] = max(found[node, kind], bid.micros)
        for row in range(0 if added is None else len(added.live)):
            bid = added.bids.bid(row)
            for leaf in added.placed.leaves[row] if added.live[row] and bid is not None else ():
                node = tree.node_at(level, int(tree.offsets[-1][leaf]))
                kind = ("CPM", "CPC", "CPA").index(bid.type)
                found[node, kind] = max(found[node, kind], bid.micros)
    return [found[:, 1:].tolist() for found in best]


def plain_leading(bids, eligible, k):
    """The best CPM bids by sorting all eligible ads."""
    n, rows = bids.tree.n_items, bids.tree.rows.tolist()
    listed = bids.listed(np.arange(n + (0 if bids.added is None else len(bids.added.live))))
    positions = np.arange(n) if eligible is None else eligible.positions()
    ordered = sorted((-listed[at].micros, rows[at] if at < n else at, at) for at in positions.tolist()
                     if listed[at] is not None and listed[at].type == "CPM")
    return [at for _, _, at in ordered[:k]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_best_bids_are_those_of_the_live_members_after_every_change(n, inner, seed):
    random = np.random.default_rng(seed)
    tree = build_tree(random.integers(0, 3, (n, inner)), random.normal(size=(n, 2)).astype(np.float32))
    bids = LiveBids.sealed(tree, random_bids(n, random) if seed % 3 else None)
    alive, rows = np.ones(n, bool), 0
    leaves = np.empty((0, 2 if inner and tree.size(inner) > 1 else min(1, inner)), np.int32)
    for _ in range(3):
        before, kept = bids, plain_best(bids)
        assert [found.tolist() for found in before.best] == kept
        changed = {int(at): bid for at, bid in zip(random.integers(0, n, 3), AdBids.of([
            None, Bid(int(random.integers(1, 10**6)), "CPC"), Bid(800_000, "CPA")]).whole[0], strict=True)}
        changed = {at: None if not micros else Bid(int(micros), "CPC") for at, micros in changed.items()}
        flipped = random.integers(0, n, 2)
        alive[flipped] ^= True
        rows += int(random.integers(0, 3))
        if leaves.shape[1]:
            more = [random.permutation(tree.size(inner))[:leaves.shape[1]] for _ in range(rows - len(leaves))]
            leaves = np.concatenate([leaves, np.array(more, np.int32).reshape(-1, leaves.shape[1])])
        added = AddedBids(placed=PlacedItems(tree, leaves), bids=random_bids(len(leaves), random),
                          live=random.random(len(leaves)) < 0.7) if len(leaves) else before.added
        bids = before.after(changed, flipped.tolist(), PositionBitmap.of(alive), added)
        assert [found.tolist() for found in bids.best] == plain_best(bids)
        assert [found.tolist() for found in before.best] == kept
        assert bids.at(np.array([n - 1]))[0].tolist() == [0 if (bid := bids.items.bid(n - 1)) is None else bid.micros]


def test_bids_beyond_the_tree_are_found_by_their_positions():
    tree = build_tree(np.array([[0], [0], [1]]), np.eye(3, dtype=np.float32))
    added = AddedBids(placed=PlacedItems(tree, np.array([[1]], np.int32)), bids=AdBids.of([Bid(9, "CPC")]),
                      live=np.ones(1, bool))
    bids = LiveBids.sealed(tree, AdBids.of([Bid(5, "CPM"), None, Bid(7, "CPA")])).after({}, [], None, added)
    assert bids.listed(np.array([3, 0, 1])) == [Bid(9, "CPC"), Bid(5, "CPM"), None]
    assert bids.best[0].tolist() == [[0, 0], [9, 7]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(1, 30), st.integers(0, 8), st.booleans(), st.integers(0, 2**32 - 1))
def test_leading_ads_are_the_eligible_ones_of_the_best_cpm_bids_after_every_change(n, k, more, folded, seed):
    random = np.random.default_rng(seed)
    tree = build_tree(random.integers(0, 3, (n, 1)), random.normal(size=(n, 2)).astype(np.float32))
    bids = LiveBids.sealed(tree, random_bids(n, random))
    assert bids.leading(None, k).tolist() == plain_leading(bids, None, k)
    placed = PlacedItems(tree, random.integers(0, tree.size(1), (more, 1)).astype(np.int32))
    added = AddedBids(placed=placed, bids=random_bids(more, random), live=np.ones(more, bool)) if more else None
    for _ in range(2):
        new = random_bids(3, random).whole
        changed = {int(at): Bid(int(micros), BID_TYPES[number]) if micros else None
                   for at, micros, number in zip(random.integers(0, n, 3), *new, strict=True)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_MOST_CHANGED", 0 if folded else 1 << 14)
            bids = bids.after(changed, [], None, added)
        members = np.flatnonzero(random.random(more) < 0.7)
        eligible = Eligible.of(n, PositionBitmap.of(random.random(n) < 0.6), random.integers(0, n + more, 3),
                               PlacedMembers(placed, members) if more else None)
        for asked in (None, eligible):
            assert bids.leading(asked, k).tolist() == plain_leading(bids, asked, k)
