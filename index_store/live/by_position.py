"""Arrays by position: replaces the entries of some positions in arrays that are ordered by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def replaced(positions: NDArray[np.int32], columns: Sequence[NDArray[Any]], gone: Sequence[int], new: Sequence[int],
             values: Sequence[Sequence[Any]]) -> tuple[NDArray[Any], ...]:
    """The positions and columns without some entries, and with others.

    Args:
        positions: (N,) ascending.
        columns: each (N,).
        gone: positions whose entries go, in any order; some may have none.
        new: positions of the entries that come, in any order, all of them among `gone`.
        values: of these, one sequence for each column.

    Returns:
        Positions, ascending, and the columns.
    """
    wanted = np.array(gone, np.int32)
    at = np.searchsorted(positions, wanted)
    at = at[positions.take(at, mode="clip") == wanted] if len(positions) else at[:0]
    order = np.argsort(np.array(new, np.int32))
    coming = np.array(new, np.int32)[order]
    left = np.delete(positions, at)
    places = np.searchsorted(left, coming)
    return (np.insert(left, places, coming),
            *(np.insert(np.delete(column, at), places, np.array(of_new, column.dtype)[order])
              for column, of_new in zip(columns, values, strict=True)))
