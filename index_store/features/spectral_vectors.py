"""Spectral vectors of items and nodes, in as few bits as their products allow: 8 a direction, 4 for the weaker ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HEAD = 256
"""Directions of 8 bits. On hold-outs, the 256 after them rank as well with 4 bits as with 8 (docs/experiments.md)."""

ZERO, _LARGEST = 8, 7
"""What stands for zero in 4 bits, and the largest distance from it."""

_ROWS, _NUMBERS = 4096, 1 << 22
"""Vectors, and numbers of those that are summed, that are held as floats at a time; a group is summed as a whole."""


@dataclass(frozen=True)
class SpectralVectors:
    """Vectors of N items or nodes in D = H + 2 T directions, the strongest first.

    Attributes:
        values: (N, H) int8; the first H elements of the vector of n are `values[n] * steps[n]`.
        steps: (N,) float32.
        tail: (N, T) uint8, two elements each: byte t holds element H + t in its lower 4 bits and element H + T + t in
            its upper ones, as (bits - 8) * tail_steps[n].
        tail_steps: (N,) float32.
        popularity: (N,) float32, log(1 + clicks); a node's is that of its most clicked member.
        stored: (M,) int32, the row of these arrays that each of M vectors has, where many have the same: in a catalogue
            of ten million most items have no click, hence the vector 0. None where each has its own, M = N.
    """

    values: NDArray[np.int8]
    steps: NDArray[np.float32]
    tail: NDArray[np.uint8]
    tail_steps: NDArray[np.float32]
    popularity: NDArray[np.float32]
    stored: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, vectors: NDArray[np.float32], popularity: NDArray[np.float32]) -> SpectralVectors:
        """Rounds vectors (N, D), the head and the tail of each by its own largest element.

        Raises:
            ValueError: D is above HEAD and odd.
        """
        beyond = max(0, vectors.shape[1] - HEAD)
        if beyond % 2:
            raise ValueError(f"vectors have {vectors.shape[1]} directions; beyond {HEAD}, give an even number")
        head, weaker = vectors[:, :HEAD], vectors[:, HEAD:]
        steps, tail_steps = _steps(head, 127), _steps(weaker, _LARGEST)
        values, tail = np.empty(head.shape, np.int8), np.empty((len(vectors), beyond // 2), np.uint8)
        for first in range(0, len(vectors), _ROWS):
            rows = slice(first, first + _ROWS)
            values[rows] = np.rint(head[rows] / np.maximum(steps[rows, None], 1e-30))
            bits = (np.rint(weaker[rows] / np.maximum(tail_steps[rows, None], 1e-30)) + ZERO).astype(np.uint8)
            tail[rows] = bits[:, :beyond // 2] | bits[:, beyond // 2:] << 4
        return cls(values, steps, tail, tail_steps, popularity)

    def __len__(self) -> int:
        return len(self.values if self.stored is None else self.stored)

    @property
    def directions(self) -> int:
        """D."""
        return int(self.values.shape[1] + 2 * self.tail.shape[1])

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """The arrays that each vector has a row of, in the order of the attributes."""
        return self.values, self.steps, self.tail, self.tail_steps, self.popularity

    def places(self, rows: NDArray[np.integer]) -> NDArray[np.integer]:
        """Where the vectors of rows (...) are in the arrays."""
        return rows if self.stored is None else self.stored.take(rows)

    def take(self, rows: NDArray[np.integer]) -> SpectralVectors:
        """The given rows (C,), in the given order, each with its own."""
        at = self.places(rows)
        return SpectralVectors(self.values[at], self.steps[at], self.tail[at], self.tail_steps[at],
                               self.popularity[at])

    def part(self, rows: slice) -> SpectralVectors:
        """Consecutive rows, each with its own vector; views unless many have the same."""
        if self.stored is not None:
            return self.take(np.arange(len(self))[rows])
        return SpectralVectors(self.values[rows], self.steps[rows], self.tail[rows], self.tail_steps[rows],
                               self.popularity[rows])

    def scaled_tail(self, places: NDArray[np.integer]) -> NDArray[np.float32]:
        """The tails at places (C,) in units of their tail steps: (C, 2 T) float32."""
        packed = self.tail.take(places, axis=0)
        width = packed.shape[1]
        tails = np.empty((len(packed), 2 * width), np.float32)
        np.subtract(packed & 15, ZERO, out=tails[:, :width], dtype=np.float32)
        np.subtract(packed >> 4, ZERO, out=tails[:, width:], dtype=np.float32)
        return tails

    def dense(self, rows: NDArray[np.integer] | None = None) -> NDArray[np.float32]:
        """The vectors of rows (C,), of all if None, as numbers: (C, D) float32."""
        at = self.places(np.arange(len(self)) if rows is None else rows)
        heads = self.values.take(at, axis=0) * self.steps.take(at)[:, None]
        if not self.tail.shape[1]:
            return heads
        return np.concatenate([heads, self.scaled_tail(at) * self.tail_steps.take(at)[:, None]], axis=1)

    def means(self, order: NDArray[np.integer], starts: NDArray[np.integer]) -> SpectralVectors:
        """The mean vectors of consecutive groups.

        Args:
            order: rows (N,) in the order in which the groups follow one another.
            starts: (M,) first place of each group in the order; none is empty.
        """
        places, members = self.places(order), np.diff(starts, append=len(order))
        own = np.flatnonzero(((self.steps > 0) | (self.tail_steps > 0))[places])  # most items have no click
        groups, begins = np.unique(np.searchsorted(starts, own, side="right") - 1, return_index=True)
        vectors = np.zeros((len(starts), self.directions), np.float32)
        held = max(1, _NUMBERS // max(1, self.directions))
        bounds = np.unique(np.searchsorted(begins, np.arange(0, len(own) + held, held)))
        for first, end in pairwise(bounds):
            last = begins[end] if end < len(begins) else len(own)
            rows = order[own[begins[first]:last]]
            sums = np.add.reduceat(self.dense(rows), begins[first:end] - begins[first], axis=0)
            vectors[groups[first:end]] = sums / members[groups[first:end], None]
        popularity = self.popularity[places]
        return SpectralVectors.of(vectors, np.maximum.reduceat(popularity, starts))


def _steps(vectors: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    """(N,) float32: the largest element of each row over the largest integer that it may become."""
    steps: NDArray[np.float32] = (np.abs(vectors).max(axis=1, initial=0) / largest).astype(np.float32)
    return steps
