"""Lists of integers of different lengths as two flat arrays (CSR). Knows nothing of what the integers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """A list of integers for each of N rows, in CSR form: row r is `values[indptr[r]:indptr[r + 1]]`.

    Attributes:
        indptr: (N + 1,) int64.
        values: (M,) int32.
    """

    indptr: NDArray[np.int64]
    values: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) values of each row; by subtraction, since `np.diff` is slow on the short rows of a query."""
        return self.indptr[1:] - self.indptr[:-1]

    @cached_property
    def one_each(self) -> bool:
        """Whether every row holds exactly one value."""
        return len(self.values) == len(self) and bool((self.lengths == 1).all())

    def row(self, r: int) -> NDArray[np.int32]:
        return self.values[self.indptr[r] : self.indptr[r + 1]]

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """The given rows (C,), in the given order."""
        if self.one_each:
            return Ragged(np.arange(len(rows) + 1, dtype=np.int64), self.values.take(rows))
        starts = self.indptr[rows]
        lengths = self.indptr[np.asarray(rows) + 1] - starts
        indptr = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        return Ragged(indptr, self.values[expand_ranges(starts, lengths)])

    @classmethod
    def of(cls, lists: Sequence[NDArray[np.integer] | Sequence[int]]) -> Ragged:
        indptr = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(part) for part in lists], out=indptr[1:])
        values = np.concatenate([np.asarray(part, np.int32) for part in lists]) if lists else np.empty(0, np.int32)
        return cls(indptr, values.astype(np.int32, copy=False))


def expand_ranges(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Concatenated `arange(start, start + length)` of every pair: (sum(lengths),) int64."""
    ends = lengths.cumsum()
    at: NDArray[np.int64] = (starts - ends + lengths).repeat(lengths)
    at += np.arange(len(at))
    return at
