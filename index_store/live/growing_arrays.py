"""Arrays that only grow: appending rows costs what is appended, and views of the rows before it stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged

_FEWEST = 64
"""Rows that the first buffer has room for."""


class GrowingArray:
    """Rows of one shape and type.

    Args:
        rows: the first ones.
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        self._used = len(rows)
        self._buffer = np.empty((max(_FEWEST, 2 * len(rows)), *rows.shape[1:]), rows.dtype)
        self._buffer[:self._used] = rows

    def append(self, rows: NDArray[Any]) -> None:
        """Adds rows; a buffer without room for them is replaced by one of twice the size."""
        end = self._used + len(rows)
        if end > len(self._buffer):
            larger = np.empty((2 * end, *self._buffer.shape[1:]), self._buffer.dtype)
            larger[:self._used] = self._buffer[:self._used]
            self._buffer = larger
        self._buffer[self._used:end] = rows
        self._used = end

    def head(self, count: int) -> NDArray[Any]:
        """A view of the first rows."""
        return self._buffer[:count]


class GrowingRagged:
    """Rows of different lengths.

    Args:
        rows: the first ones.
    """

    def __init__(self, rows: Ragged) -> None:
        self._indptr, self._values = GrowingArray(rows.indptr), GrowingArray(rows.values)
        self._end = len(rows.values)

    def append(self, rows: Ragged) -> None:
        """Adds rows."""
        self._indptr.append(rows.indptr[1:] + self._end)
        self._values.append(rows.values)
        self._end += len(rows.values)

    def head(self, count: int) -> Ragged:
        """A view of the first rows."""
        indptr = self._indptr.head(count + 1)
        return Ragged(indptr, self._values.head(int(indptr[-1])))
