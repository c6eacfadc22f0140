"""Leaf items: which items below a beam are worth scoring by their own bids, and which are wherever they lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import expand_ranges
from index_store.search.ranking import JudgedNodes, Query, SearchRun, best
from index_store.tree.tree import Tree
from index_store.value.bids import CPM, NO_BID
from index_store.value.valuation import Valuation


def most_promising(run: SearchRun[Query], valuation: Valuation, leaves: JudgedNodes, most: int) -> NDArray[np.int64]:
    """Positions of the eligible items below leaf nodes, those beyond the tree first; of more than `most` the best.

    An item is judged by its own bid at the probabilities of its leaf node, at the best of several. Items of CPM bids
    are left out, see `with_leading`, unless the search is for newcomers too, of which they may be some.
    """
    tree, eligible = run.tree, run.eligible
    first, end = tree.bounds(tree.depth - 1, leaves.nodes)
    positions = expand_ranges(first, end - first).astype(np.int64)
    owners = np.repeat(np.arange(len(leaves.nodes)), end - first)
    beyond = 0
    if eligible is not None:
        passed = eligible.contains(positions)
        positions, owners = positions[passed], owners[passed]
        if eligible.placed is not None:
            added, of_added = eligible.placed.listed(leaves.nodes)
            beyond = len(added)
            positions, owners = np.concatenate([added, positions]), np.concatenate([of_added, owners])
    if run.newcomers is None:
        micros, types = valuation.bids.at(positions)
        others = (types != CPM) | (micros == NO_BID)
        beyond = int(others[:beyond].sum())
        positions, owners = positions[others], owners[others]
    if len(positions) <= most and not beyond:
        return positions
    promise = valuation.of_members(positions, owners, leaves.logits, leaves.scores)
    if beyond:  # listed under several leaf nodes
        by_promise = np.lexsort((-promise[:beyond], positions[:beyond]))
        once = by_promise[np.unique(positions[:beyond][by_promise], return_index=True)[1]]
        kept = np.concatenate([once, np.arange(beyond, len(positions))])
        positions, promise = positions[kept], promise[kept]
    return positions[np.sort(best(promise, positions, most))]


def with_leading(run: SearchRun[Query], valuation: Valuation, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions (C,) of eligible items, and the top_k of the highest CPM bids, which no others of such bids can outbid.

    Those beyond the tree come first, else those of the CPM bids, which are in the answer unless others outbid them.
    """
    leading = valuation.bids.leading(run.eligible, run.top_k)
    if not len(leading):
        return positions
    both = np.concatenate([leading, positions[~np.isin(positions, leading)]])
    return beyond_first(run.tree, both)


def beyond_first(tree: Tree, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same positions (C,), those beyond the tree first and otherwise in their order."""
    return positions[np.argsort(positions < tree.n_items, kind="stable")]
