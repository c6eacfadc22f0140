"""Placed items: items beyond those of a tree, each listed under some of the tree's leaf nodes.

The leaf nodes are those right above the items. The tree itself does not change, so its positions, node numbers and
bitmaps stay what they are while items are added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree

_UNLISTED = 64
"""Items that every search looks through before the lists of all leaves are made anew; or a 256th of those listed, if
that is more."""


@dataclass(frozen=True, eq=False)
class _Lists:
    """Leaf node -> those of the first `count` items that are listed under it."""

    count: int
    of_leaf: Ragged

    @classmethod
    def of(cls, leaves: NDArray[np.int32], n_leaves: int) -> _Lists:
        flat = leaves.ravel()
        order = np.argsort(flat, kind="stable")
        return cls(len(leaves), Ragged.of_owners(flat[order], n_leaves, order // leaves.shape[1]))


@dataclass(frozen=True, eq=False)
class PlacedItems:
    """J items; item j has position `tree.n_items + j`.

    Attributes:
        tree: whose nodes they are listed under.
        leaves: (J, P) int32 distinct leaf nodes of each item, the nearest first; (J, 0) for a tree of items alone.
    """

    tree: Tree
    leaves: NDArray[np.int32]
    _former: _Lists | None = field(default=None, repr=False)

    def extended(self, leaves: NDArray[np.int32]) -> PlacedItems:
        """These items and more of them.

        Args:
            leaves: (J + N, P) int32, those of these items first.
        """
        lists = self._lists
        few = lists is not None and len(leaves) - lists.count <= max(_UNLISTED, lists.count // 256)
        return PlacedItems(self.tree, leaves, lists if few else None)

    def prepare(self) -> None:
        """Makes now what searches read; otherwise the first one makes it."""
        _ = self._lists, self.anchors

    def __len__(self) -> int:
        return len(self.leaves)

    @cached_property
    def anchors(self) -> NDArray[np.int64]:
        """(J,) first position below the nearest leaf: it has the ancestors that the item has."""
        if not self.leaves.shape[1]:
            return np.zeros(len(self), np.int64)
        anchors: NDArray[np.int64] = self.tree.offsets[-1].take(self.leaves[:, 0]).astype(np.int64)
        return anchors

    def under(self, nodes: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some ascending items (M,) that are listed under one of the leaf nodes (C,), in their order.

        In a tree of items alone these are all of them.
        """
        if not self.leaves.shape[1] or not len(members):
            return members
        listed = np.unique(self.listed(nodes)[0])
        at = np.searchsorted(members, listed)
        found: NDArray[np.int64] = listed[members.take(at, mode="clip") == listed]
        return found

    def listed(self, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The items (N,) that are listed under some distinct leaf nodes (C,), once for each, and the node's index (N,).

        In a tree of items alone there are none.
        """
        lists = self._lists
        if lists is None or not len(nodes):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        early = lists.of_leaf.take(nodes)
        owners = np.repeat(np.arange(len(nodes)), early.lengths)
        order, late = np.argsort(nodes), self.leaves[lists.count:]
        at = np.searchsorted(nodes, late, sorter=order)
        nearest = order.take(at, mode="clip")
        items, places = np.nonzero(nodes.take(nearest) == late)
        return (np.concatenate([early.values.astype(np.int64), items + lists.count]),
                np.concatenate([owners, nearest[items, places]]))

    @cached_property
    def _lists(self) -> _Lists | None:
        """None in a tree of items alone."""
        if not self.leaves.shape[1]:
            return None
        return self._former or _Lists.of(self.leaves, self.tree.size(self.tree.depth - 1))

    def counts(self, level: int, members: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many of some items (M,) lie below each node of a level above them, by their nearest leaves: (nodes,)."""
        nodes = self.tree.above_leaves[level - 1].take(self.leaves[:, 0].take(members))
        return np.bincount(nodes, minlength=self.tree.size(level))

    def in_tree(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions (C,) of which those beyond the tree are replaced by their anchors."""
        beyond = positions - self.tree.n_items
        return np.where(beyond < 0, positions, self.anchors.take(np.maximum(beyond, 0)))
