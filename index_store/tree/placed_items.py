"""Placed items: items beyond those of a tree, each listed under some of the tree's leaf nodes.

The leaf nodes are those right above the items. The tree itself does not change, so its positions, node numbers and
bitmaps stay what they are while items are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree


@dataclass(frozen=True, eq=False)
class PlacedItems:
    """J items; item j has position `tree.n_items + j`.

    Attributes:
        tree: whose nodes they are listed under.
        leaves: (J, P) int32 distinct leaf nodes of each item, the nearest first; (J, 0) for a tree of items alone.
    """

    tree: Tree
    leaves: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.leaves)

    @cached_property
    def anchors(self) -> NDArray[np.int64]:
        """(J,) first position below the nearest leaf: it has the ancestors that the item has."""
        if not self.leaves.shape[1]:
            return np.zeros(len(self), np.int64)
        anchors: NDArray[np.int64] = self.tree.offsets[-1].take(self.leaves[:, 0]).astype(np.int64)
        return anchors

    @cached_property
    def of_leaf(self) -> Ragged:
        """Leaf node -> the items that are listed under it; empty in a tree of items alone."""
        if not self.leaves.shape[1]:
            return Ragged.of([])
        flat = self.leaves.ravel()
        order = np.argsort(flat, kind="stable")
        return Ragged.of_owners(flat[order], self.tree.size(self.tree.depth - 1), order // self.leaves.shape[1])

    def under(self, nodes: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some ascending items (M,) that are listed under one of the leaf nodes (C,), in their order.

        In a tree of items alone these are all of them.
        """
        if not self.leaves.shape[1] or not len(members):
            return members
        listed = np.unique(self.of_leaf.take(nodes).values).astype(np.int64)
        at = np.searchsorted(members, listed)
        found: NDArray[np.int64] = listed[members.take(at, mode="clip") == listed]
        return found

    def counts(self, level: int, members: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many of some items (M,) lie below each node of a level above them, by their nearest leaves: (nodes,)."""
        nodes = self.tree.ancestors(self.tree.depth, self.anchors.take(members), level)
        return np.bincount(nodes, minlength=self.tree.size(level))

    def in_tree(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions (C,) of which those beyond the tree are replaced by their anchors."""
        beyond = positions - self.tree.n_items
        return np.where(beyond < 0, positions, self.anchors.take(np.maximum(beyond, 0)))
