"""Live bids: the best bid below each node against that of all its members, whatever has changed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.targeting.eligibility import PositionBitmap
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import build_tree
from index_store.value.bids import AdBids, Bid
from index_store.value.live_bids import AddedBids, LiveBids
from tests.index_store.value.valued import random_bids


def plain_best(bids):
    """The best bid of each type below each node, by looking at all ads."""
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
    return [found.tolist() for found in best]


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
    assert bids.best[0].tolist() == [[5, 0, 0], [0, 9, 7]]
