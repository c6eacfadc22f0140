"""Newcomers: of the items that a search scored and does not return, those that have had few impressions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.value.track_records import IMPRESSIONS, TrackRecords
from index_store.value.valuation import ecpm_of


@dataclass(frozen=True, eq=False)
class Pool:
    """Scored items (C,), none of which is returned.

    Attributes:
        rows: (C,) int64 item rows.
        scores: (C,) float32.
        logits: (C, tasks) float32.
        records: (C, 2) impressions and clicks.
        ecpm: (C,) float64 micros, where it ranks.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    records: NDArray[np.uint16]
    ecpm: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: NDArray[np.integer] | NDArray[np.bool_]) -> Pool:
        """Some of them."""
        return Pool(self.rows[kept], self.scores[kept], self.logits[kept], self.records[kept],
                    None if self.ecpm is None else self.ecpm[kept])

    def joined(self, other: Pool, taken: NDArray[np.int64]) -> Pool:
        """Those of both, each once, without those at some rows (K,)."""
        ecpm = None if self.ecpm is None or other.ecpm is None else np.concatenate([self.ecpm, other.ecpm])
        both = Pool(np.concatenate([self.rows, other.rows]), np.concatenate([self.scores, other.scores]),
                    np.concatenate([self.logits, other.logits]), np.concatenate([self.records, other.records]), ecpm)
        once = np.unique(both.rows, return_index=True)[1]
        return both.take(once[~np.isin(both.rows[once], taken)])


@dataclass(frozen=True, eq=False)
class Newcomers:
    """Which items are new.

    Attributes:
        records: of all items.
        below: an item with fewer impressions is one.
    """

    records: TrackRecords
    below: int

    def pool(self, positions: NDArray[np.int64], rows: NDArray[np.int64], scores: NDArray[np.float32],
             logits: NDArray[np.float32], worth: NDArray[np.floating] | None, kept: NDArray[np.int64]) -> Pool:
        """The newcomers among scored items (C,).

        Args:
            positions, rows, scores, logits: of the items.
            worth: of each, where eCPM ranks; those that pay nothing are left out.
            kept: indices of those that are returned.
        """
        records = self.records.at(positions)
        few = records[:, IMPRESSIONS] < self.below
        few[kept] = False
        if worth is not None:
            few &= worth > 0
        found = few.nonzero()[0]
        return Pool(rows[found], scores[found], logits[found], records[found],
                    None if worth is None else ecpm_of(worth[found]))
