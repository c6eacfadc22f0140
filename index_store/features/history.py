"""A user's history as user tower, keys and spectral towers read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged


@dataclass(frozen=True)
class History:
    """The clicks of one user, most recent first.

    Attributes:
        clicks: one row, a number in `fields` for each click.
        fields: item field -> ids by number.
        rows: (K,) item rows of the clicks on items that a bundle has, in the same order.
    """

    clicks: Ragged
    fields: Mapping[str, Ragged]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, rows: NDArray[np.int32], item_fields: Mapping[str, Ragged]) -> Self:
        """Clicks on items of a bundle alone, by their rows (M,), given the ids of each item field by item row."""
        return cls(Ragged.one_row(rows), item_fields, rows)
