"""Eligibility: the items that may be returned, as a bitmap over positions with ranks, minus a list of exclusions.

A node is an interval of positions, so its eligible count is a difference of two ranks, whatever its size. A bitmap of a
million positions takes 190 KB and is shared by all requests of one targeting signature; the exclusions of a request are
a short sorted list, subtracted by binary search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import expand_ranges
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree

_WORD = np.dtype("<u8")
_ONE = np.uint64(1)


@dataclass(frozen=True)
class PositionBitmap:
    """A set of positions 0 .. n - 1, one bit each.

    Attributes:
        n: number of positions.
        words: (n // 64 + 1,) uint64; position p is bit p % 64 of word p // 64; bits from n on are 0.
    """

    n: int
    words: NDArray[np.uint64]

    @classmethod
    def of(cls, flags: NDArray[np.bool_]) -> PositionBitmap:
        """The positions whose flag (n,) is true."""
        packed = np.packbits(flags, bitorder="little")
        padded = np.zeros((len(flags) // 64 + 1) * _WORD.itemsize, np.uint8)
        padded[: len(packed)] = packed
        return cls(len(flags), padded.view(_WORD))

    @classmethod
    def full(cls, n: int) -> PositionBitmap:
        return ~cls(n, np.zeros(n // 64 + 1, _WORD))

    @cached_property
    def ranks(self) -> NDArray[np.int32]:
        """(words + 1,) int32: members before each word; the last entry counts all."""
        ranks: NDArray[np.int32] = np.zeros(len(self.words) + 1, np.int32)
        np.cumsum(np.bitwise_count(self.words), out=ranks[1:])
        return ranks

    @property
    def total(self) -> int:
        return int(self.ranks[-1])

    def rank(self, ends: NDArray[np.integer]) -> NDArray[np.int64]:
        """Number of members below each end (C,) of 0 .. n."""
        word, bit = ends >> 6, (ends & 63).astype(np.uint64)
        below = self.words.take(word) & ((_ONE << bit) - _ONE)
        counts = self.ranks.take(word).astype(np.int64)
        counts += np.bitwise_count(below)
        return counts

    def contains(self, positions: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each position (C,) is a member."""
        bits = self.words.take(positions >> 6) >> (positions & 63).astype(np.uint64)
        members: NDArray[np.bool_] = (bits & _ONE).astype(np.bool_)
        return members

    def positions(self) -> NDArray[np.int64]:
        """All members, ascending; the cost grows with the words that have a member."""
        filled = np.flatnonzero(self.words)
        bits = np.unpackbits(self.words[filled].view(np.uint8), bitorder="little")
        at = np.flatnonzero(bits)
        members: NDArray[np.int64] = (filled[at >> 6] << 6) + (at & 63)
        return members

    def within(self, first: NDArray[np.integer], end: NDArray[np.integer]) -> NDArray[np.int64]:
        """All members in some intervals (C,) of positions, none of them empty, in the order of the intervals."""
        words = (end - 1 >> 6) - (first >> 6) + 1
        word, last = expand_ranges(first >> 6, words), np.cumsum(words) - 1
        found = self.words.take(word)
        found[last - words + 1] &= ~((_ONE << (first & 63).astype(np.uint64)) - _ONE)
        found[last] &= ~np.uint64(0) >> (-end & 63).astype(np.uint64)
        at = np.flatnonzero(np.unpackbits(found.view(np.uint8), bitorder="little"))
        members: NDArray[np.int64] = (word[at >> 6] << 6) + (at & 63)
        return members

    def replaced(self, positions: NDArray[np.integer], members: NDArray[np.bool_]) -> PositionBitmap:
        """A copy in which each of some positions (C,) is a member or not, as its flag (C,) says."""
        words, word = self.words.copy(), positions >> 6
        bits = _ONE << (positions & 63).astype(np.uint64)
        np.bitwise_or.at(words, word[members], bits[members])
        np.bitwise_and.at(words, word[~members], ~bits[~members])
        return PositionBitmap(self.n, words)

    def __and__(self, other: PositionBitmap) -> PositionBitmap:
        return PositionBitmap(self.n, self.words & other.words)

    def __or__(self, other: PositionBitmap) -> PositionBitmap:
        return PositionBitmap(self.n, self.words | other.words)

    def __invert__(self) -> PositionBitmap:
        words = ~self.words
        words[-1] &= (_ONE << np.uint64(self.n & 63)) - _ONE
        return PositionBitmap(self.n, words)


@dataclass(frozen=True, eq=False)
class PlacedMembers:
    """A set of items that are placed beyond a tree. Requests of one signature share it.

    Attributes:
        items: all that are placed.
        members: (M,) int64 ascending numbers of those in the set.
    """

    items: PlacedItems
    members: NDArray[np.int64]
    _counts: dict[int, NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False)

    def counts(self, level: int) -> NDArray[np.int64]:
        """Members below each node of a level above the items: (nodes,)."""
        if level not in self._counts:  # two threads may both count, and get the same
            self._counts[level] = self.items.counts(level, self.members)
        return self._counts[level]

    def under(self, leaves: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the members that are listed under one of the leaf nodes (C,)."""
        return self.items.tree.n_items + self.items.under(leaves, self.members)

    def listed(self, leaves: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions (N,) of the members listed under leaf nodes (C,), once for each, and the indices of these (N,)."""
        found, owners = self.items.listed(leaves)
        among = np.isin(found, self.members)
        return self.items.tree.n_items + found[among], owners[among]

    def positions(self) -> NDArray[np.int64]:
        """Positions of all members, ascending."""
        return self.items.tree.n_items + self.members

    def passed(self, flags: NDArray[np.bool_]) -> PlacedMembers | None:
        """The members whose flags (J,) are true; None if there are none."""
        kept = flags.take(self.members)
        if kept.all():
            return self
        return PlacedMembers(self.items, self.members[kept]) if kept.any() else None

    def without(self, positions: NDArray[np.integer]) -> PlacedMembers:
        """The set without the members at some positions (C,)."""
        kept = ~np.isin(self.members, positions - self.items.tree.n_items)
        return self if kept.all() else PlacedMembers(self.items, self.members[kept])


@dataclass(frozen=True, eq=False)
class Passing:
    """The items that their campaigns do not hold back from a request.

    Attributes:
        in_tree: positions of the tree.
        beyond: (J,) bool, of the items that are placed beyond it.
    """

    in_tree: PositionBitmap
    beyond: NDArray[np.bool_]


class Gate(Protocol):
    """What holds items back besides targeting."""

    @property
    def passing(self) -> Passing | None:
        """The others; None for all."""


@dataclass(frozen=True)
class Eligible:
    """Item positions that may be returned.

    Attributes:
        n_items: number of positions in the tree.
        bitmap: those that targeting accepts and no change withdraws; None for all.
        excluded: (E,) int64 sorted distinct positions to leave out, all of them members of `bitmap`.
        placed: the eligible items beyond the tree; None if there are none.
    """

    n_items: int
    bitmap: PositionBitmap | None
    excluded: NDArray[np.int64]
    placed: PlacedMembers | None = None

    @classmethod
    def of(cls, n_items: int, bitmap: PositionBitmap | None = None, excluded: NDArray[np.integer] | None = None,
           placed: PlacedMembers | None = None) -> Eligible:
        """Excluded positions may come in any order, repeat, and include some that targeting rejects."""
        if excluded is None or not len(excluded):
            return cls(n_items, bitmap, np.empty(0, np.int64), placed)
        if placed is not None:
            placed = placed.without(excluded)
        gone = np.unique(excluded[excluded < n_items]).astype(np.int64)
        return cls(n_items, bitmap, gone if bitmap is None else gone[bitmap.contains(gone)], placed)

    @property
    def in_tree(self) -> int:
        """Number of eligible items of the tree."""
        return (self.n_items if self.bitmap is None else self.bitmap.total) - len(self.excluded)

    @property
    def total(self) -> int:
        """Number of eligible items."""
        return self.in_tree + (0 if self.placed is None else len(self.placed.members))

    def below(self, tree: Tree, level: int, nodes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Eligible items below each of the nodes (C,) of a level above the items: (C,) int64."""
        first, end = tree.bounds(level, nodes)
        bitmap = self.bitmap
        counts = (end - first).astype(np.int64) if bitmap is None else bitmap.rank(end) - bitmap.rank(first)
        if len(self.excluded):
            counts -= np.searchsorted(self.excluded, end) - np.searchsorted(self.excluded, first)
        if self.placed is not None:
            counts += self.placed.counts(level).take(nodes)
        return counts

    def under(self, tree: Tree, level: int, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of all eligible items below distinct nodes (C,) of a level above the items, in any order."""
        first, end = tree.bounds(level, nodes)
        members = expand_ranges(first, end - first) if self.bitmap is None else self.bitmap.within(first, end)
        if len(self.excluded):
            members = members[~np.isin(members, self.excluded)]
        if self.placed is None:
            return members
        for above in range(level, tree.depth - 1):
            nodes = tree.children(above, nodes)
        return np.concatenate([self.placed.under(nodes), members])

    def contains(self, positions: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each position (C,) of the tree is eligible."""
        eligible = np.ones(len(positions), np.bool_) if self.bitmap is None else self.bitmap.contains(positions)
        if len(self.excluded):
            at = np.searchsorted(self.excluded, positions)
            eligible &= self.excluded.take(at, mode="clip") != positions
        return eligible

    def positions(self) -> NDArray[np.int64]:
        """All eligible positions, those beyond the tree first, otherwise ascending: (total,) int64."""
        if self.bitmap is None:
            members = np.delete(np.arange(self.n_items), self.excluded)
        else:
            members = self.bitmap.positions()
            if len(self.excluded):
                members = np.delete(members, np.searchsorted(members, self.excluded))
        return members if self.placed is None else np.concatenate([self.placed.positions(), members])
