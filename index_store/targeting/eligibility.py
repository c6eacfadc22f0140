"""Eligibility: the items that may be returned, as a bitmap over positions with ranks, minus a list of exclusions.

A node is an interval of positions, so its eligible count is a difference of two ranks, whatever its size. A bitmap of a
million positions takes 190 KB and is shared by all requests of one targeting signature; the exclusions of a request are
a short sorted list, subtracted by binary search.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Eligible:
    """Item positions that may be returned.

    Attributes:
        n_items: number of positions.
        bitmap: those that targeting accepts and no change withdraws; None for all.
        excluded: (E,) int64 sorted distinct positions to leave out, all of them members of `bitmap`.
    """

    n_items: int
    bitmap: PositionBitmap | None
    excluded: NDArray[np.int64]

    @classmethod
    def of(cls, n_items: int, bitmap: PositionBitmap | None = None,
           excluded: NDArray[np.integer] | None = None) -> Eligible:
        """Excluded positions may come in any order, repeat, and include some that targeting rejects."""
        gone = np.unique(excluded).astype(np.int64) if excluded is not None and len(excluded) else np.empty(0, np.int64)
        return cls(n_items, bitmap, gone if bitmap is None or not len(gone) else gone[bitmap.contains(gone)])

    @property
    def total(self) -> int:
        """Number of eligible items."""
        return (self.n_items if self.bitmap is None else self.bitmap.total) - len(self.excluded)

    def counts(self, first: NDArray[np.integer], end: NDArray[np.integer]) -> NDArray[np.int64]:
        """Eligible items in each interval [first, end) of positions: (C,) int64."""
        bitmap = self.bitmap
        counts = (end - first).astype(np.int64) if bitmap is None else bitmap.rank(end) - bitmap.rank(first)
        if len(self.excluded):
            counts -= np.searchsorted(self.excluded, end) - np.searchsorted(self.excluded, first)
        return counts

    def contains(self, positions: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each position (C,) is eligible."""
        eligible = np.ones(len(positions), np.bool_) if self.bitmap is None else self.bitmap.contains(positions)
        if len(self.excluded):
            at = np.searchsorted(self.excluded, positions)
            eligible &= self.excluded.take(at, mode="clip") != positions
        return eligible

    def positions(self) -> NDArray[np.int64]:
        """All eligible positions, ascending: (total,) int64."""
        if self.bitmap is None:
            return np.delete(np.arange(self.n_items), self.excluded)
        members = self.bitmap.positions()
        if len(self.excluded):
            members = np.delete(members, np.searchsorted(members, self.excluded))
        return members
