"""Items below a beam: the eligible ones whose own bids promise most at the probabilities of their leaf nodes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.search.leaf_items import most_promising
from index_store.search.ranking import JudgedNodes
from index_store.targeting.eligibility import Eligible, PlacedMembers
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import build_tree
from index_store.value.bids import BID_TYPES
from index_store.value.live_bids import AddedBids, LiveBids
from index_store.value.valuation import Valuation
from tests.index_store.value.valued import CALIBRATIONS, PAID, plain_ecpm, random_bids


@dataclass
class Run:
    """The part of a search that is read."""

    tree: object
    eligible: object
    newcomers: object = None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 40))
def test_items_are_those_of_the_highest_promises(seed, added, most):
    random = np.random.default_rng(seed)
    tree = build_tree(random.integers(0, 4, (60, 2)), random.normal(size=(60, 2)).astype(np.float32))
    leaves = np.sort(random.permutation(tree.size(2))[:5])
    placed = PlacedItems(tree, np.array([random.permutation(tree.size(2))[:3] for _ in range(added)],
                                        np.int32).reshape(added, 3))
    members = np.flatnonzero(random.random(added) < 0.7)
    excluded = random.integers(0, 60 + added, 9)
    eligible = Eligible.of(60, None, excluded, PlacedMembers(placed, members) if added else None)
    bids = LiveBids.sealed(tree, random_bids(60, random)).after({}, [], None, AddedBids(
        placed=placed, bids=random_bids(added, random), live=np.ones(added, bool)) if added else None)
    logits = random.normal(size=(5, 2)).astype(np.float32)
    judged = JudgedNodes(leaves, logits, logits[:, 0], logits[:, 0])
    found = most_promising(Run(tree, eligible), Valuation(CALIBRATIONS, PAID, bids), judged, most)
    promises = {}
    for at, leaf in enumerate(leaves.tolist()):
        below = list(range(*(int(end) for end in tree.bounds(2, np.array(leaf)))))
        below += [60 + row for row in members.tolist() if leaf in placed.leaves[row]]
        for position in set(below) - set(excluded.tolist()):
            (micros,), (number,) = bids.at(np.array([position]))
            if micros and BID_TYPES[number] == "CPM":
                continue
            worth = plain_ecpm(logits[at], micros, number) or -float(np.logaddexp(0, -logits[at, 0]))
            promises[position] = max(promises.get(position, -np.inf), worth)
    assert len(found) == len(set(found.tolist())) == min(most, len(promises))
    worst = min((promises[position] for position in found.tolist()), default=0)
    assert all(worth <= worst * (1 + 1e-9) if worst > 0 else worth <= worst + 1e-6
               for position, worth in promises.items() if position not in set(found.tolist()))
    beyond = found >= 60
    assert not (np.diff(beyond.astype(int)) > 0).any(), "items beyond the tree come first"
