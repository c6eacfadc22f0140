"""Live bids: those of the ads of one moment, the best bid below each node of the tree, and the best CPM bids of all.

Ads that must not be returned count for no node. A changed bid costs the members of its leaf node and the children of
the nodes above it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import expand_ranges
from index_store.targeting.eligibility import Eligible, PositionBitmap
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree
from index_store.value.bids import BID_TYPES, CPM, LABEL_TYPES, NO_BID, AdBids, Bid
from index_store.value.cpm_order import CpmOrder


@dataclass(frozen=True, eq=False, kw_only=True)
class AddedBids:
    """Bids of the J ads beyond the tree.

    Attributes:
        placed: where they are.
        bids: of each.
        live: (J,) bool, those that may be returned.
    """

    placed: PlacedItems
    bids: AdBids
    live: NDArray[np.bool_]

    @cached_property
    def counting(self) -> NDArray[np.int64]:
        """(J,) micros of those that may be returned, NO_BID for the others."""
        return np.where(self.live, self.bids.whole[0], NO_BID)

    def best_cpm(self, members: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """Of ads by ascending number (C,), those of the k highest CPM bids; of equal bids the first."""
        micros, types = (values.take(members) for values in self.bids.whole)
        bidding = np.flatnonzero((types == CPM) & (micros != NO_BID))
        if len(bidding) > k:
            threshold = np.partition(micros[bidding], len(bidding) - k)[len(bidding) - k]
            bidding = bidding[micros[bidding] >= threshold]
        return members[bidding[np.argsort(-micros[bidding], kind="stable")][:k]]


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveBids:
    """The bids of one moment; it is never changed itself.

    Attributes:
        tree: of the ads.
        items: bids by position of the tree.
        live: positions that may be returned; None for all.
        added: of the ads beyond the tree; None if there are none.
        best: one (nodes, 2) int64 a level above the ads: the largest bid in micros of each of LABEL_TYPES among the
            live ads below each node, those beyond the tree included; NO_BID for none. CPM bids need no search.
        by_cpm: order of the ads of the tree by `items` without its changed bids.
    """

    tree: Tree
    items: AdBids
    live: PositionBitmap | None = None
    added: AddedBids | None = None
    best: tuple[NDArray[np.int64], ...]
    by_cpm: CpmOrder

    @classmethod
    def sealed(cls, tree: Tree, items: AdBids | None) -> Self:
        """Those of a bundle, by position; None for no bids."""
        best = tuple(np.zeros((tree.size(level), len(LABEL_TYPES)), np.int64) for level in range(1, tree.depth))
        all_bids = AdBids.none(tree.n_items) if items is None else items
        bids = cls(tree=tree, items=all_bids, best=best, by_cpm=CpmOrder.of_all(all_bids, tree.rows))
        return bids if items is None or not best else bids._refreshed(np.arange(len(best[-1])))

    @cached_property
    def offered(self) -> NDArray[np.bool_]:
        """(2,) which of LABEL_TYPES some live ad bids in; of a tree of items alone, all of them."""
        return np.asarray(self.best[0].any(axis=0) if self.best else np.ones(len(LABEL_TYPES), np.bool_))

    def at(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Micros and types (C,) of the ads at positions (C,), which may lie beyond the tree."""
        beyond = positions >= self.tree.n_items
        if self.added is None or not beyond.any():
            return self.items.at(positions)
        micros, types = self.items.at(np.where(beyond, 0, positions))
        micros[beyond], types[beyond] = self.added.bids.at(positions[beyond] - self.tree.n_items)
        return micros, types

    def leading(self, eligible: Eligible | None, k: int) -> NDArray[np.int64]:
        """Positions of the k eligible ads of the highest CPM bids, best first, or of all if fewer bid so.

        Of equal bids the lower item row comes first, that is those beyond the tree last.
        """
        changed, n_items = self.items.changed, self.tree.n_items

        def eligible_ones(positions: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.ones(len(positions), np.bool_) if eligible is None else eligible.contains(positions)

        def unchanged(positions: NDArray[np.int64]) -> NDArray[np.bool_]:
            same: NDArray[np.bool_] = changed.take(np.searchsorted(changed, positions), mode="clip") == positions
            return eligible_ones(positions) & ~same

        found = [self.by_cpm.head(k, unchanged if len(changed) else eligible_ones)]
        if len(changed):
            found.append(self._changed_by_cpm.head(k, eligible_ones))
        if self.added is not None and eligible is not None and eligible.placed is not None:
            found.append(n_items + self.added.best_cpm(eligible.placed.members, k))
        if len(found) == 1:
            return found[0]
        positions = np.concatenate(found)
        rows = np.where(positions < n_items, self.tree.rows.take(positions, mode="clip"), positions)
        return positions[np.lexsort((rows, -self.at(positions)[0]))][:k]

    @cached_property
    def _changed_by_cpm(self) -> CpmOrder:
        return CpmOrder(self.items, self.items.changed, self.tree.rows)

    def listed(self, positions: NDArray[np.int64]) -> list[Bid | None]:
        """The bids of the ads at positions (C,)."""
        return [None if micros == NO_BID else Bid(micros, BID_TYPES[number])
                for micros, number in zip(*(values.tolist() for values in self.at(positions)), strict=True)]

    def after(self, bids: Mapping[int, Bid | None], touched: Collection[int], live: PositionBitmap | None,
              added: AddedBids | None) -> Self:
        """The bids after a change.

        Args:
            bids: new ones, by position of the tree.
            touched: positions of the tree that may have become live, or be so no longer.
            live, added: as they are now.
        """
        items = self.items.replaced(bids)
        by_cpm = self.by_cpm if items.micros is self.items.micros else CpmOrder.of_all(items, self.tree.rows)
        after = replace(self, items=items, live=live, added=added, by_cpm=by_cpm)
        if not self.best:
            return after
        positions = np.array([*bids, *touched], np.int64)
        bidding = (self.items.at(positions)[0] != NO_BID) | (after.items.at(positions)[0] != NO_BID)
        above = self.tree.ancestors(self.tree.depth, positions[bidding], self.tree.depth - 1)
        return after._refreshed(np.union1d(above, self._leaves_of_changed(added)))

    def _leaves_of_changed(self, added: AddedBids | None) -> NDArray[np.int64]:
        """Leaf nodes of ads beyond the tree that count otherwise than before."""
        if added is None:
            return np.empty(0, np.int64)
        now, before = added.counting, np.zeros(len(added.live), np.int64)
        types = np.zeros(len(added.live), np.uint8)
        if self.added is not None:
            before[:len(self.added.live)] = self.added.counting
            types[:len(self.added.live)] = self.added.bids.whole[1]
        changed = (now != before) | ((now != NO_BID) & (added.bids.whole[1] != types))
        leaves: NDArray[np.int64] = added.placed.leaves[changed].ravel().astype(np.int64)
        return leaves

    def _refreshed(self, leaves: NDArray[np.int64]) -> Self:
        """With the best bids of these leaf nodes (C,), ascending, and those above them as they are now."""
        if not len(leaves):
            return self
        tree, nodes, best = self.tree, leaves, [*self.best]
        found = self._of_leaves(leaves)
        for level in range(tree.depth - 1, 0, -1):
            best[level - 1] = best[level - 1].copy()
            best[level - 1][nodes] = found
            if level > 1:
                nodes = np.unique(tree.ancestors(level, nodes, level - 1))
                below = best[level - 1].take(tree.children(level - 1, nodes), axis=0)
                found = np.maximum.reduceat(below, _starts(tree.child_counts(level - 1, nodes)))
        return replace(self, best=tuple(best))

    def _of_leaves(self, leaves: NDArray[np.int64]) -> NDArray[np.int64]:
        """The best bids (C, 2) below leaf nodes (C,)."""
        first, end = self.tree.bounds(self.tree.depth - 1, leaves)
        positions = expand_ranges(first, end - first)
        micros, types = self.items.at(positions)
        if self.live is not None:
            micros *= self.live.contains(positions)
        starts = _starts(end - first)
        found = np.stack([np.maximum.reduceat(np.where(types == BID_TYPES.index(kind), micros, NO_BID), starts)
                          for kind in LABEL_TYPES], axis=1)
        if self.added is not None:
            listed, owners = self.added.placed.listed(leaves)
            types = self.added.bids.whole[1][listed]
            for column, kind in enumerate(LABEL_TYPES):
                of = types == BID_TYPES.index(kind)
                np.maximum.at(found[:, column], owners[of], self.added.counting[listed[of]])
        return found


def _starts(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each of some ranges (C,), laid one after the other, begins."""
    return np.cumsum(lengths, dtype=np.int64) - lengths
