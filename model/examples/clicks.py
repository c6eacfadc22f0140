"""The clicks of every user, and the histories that a training example may see.

A history never shows the label. In a log of impressions, an example sees the clicks before its own timestamp; a label
that comes late counts from when it came. A log of positives has no such point in time, so its examples, and the
negatives drawn for them, see the clicks of the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.values import MAX_LIST
from index_store.features.ragged import Ragged, expand_ranges
from model.data.load import Events


@dataclass(frozen=True)
class Clicks:
    """Clicked items of every user, oldest first.

    Attributes:
        indptr: (U + 1,) int64.
        rows: (M,) int32 item rows.
        timestamps: (M,) int64, ascending within a user.
    """

    indptr: NDArray[np.int64]
    rows: NDArray[np.int32]
    timestamps: NDArray[np.int64]

    @classmethod
    def of(cls, events: Events, users: int) -> Clicks:
        """The events that have any label, from a log sorted by user and time.

        Each is at the time of its first label, that of the event itself unless all of its labels come late.
        """
        clicked = events.labels.any(axis=1)
        owners, rows, times = events.users[clicked], events.items[clicked], events.timestamps[clicked]
        if events.delays is not None:
            times = times + _waited(events.labels[clicked], events.delays[clicked], events.late)
            order = np.lexsort((times, owners))
            rows, times = rows[order], times[order]
        indptr = np.searchsorted(owners, np.arange(users + 1))
        return cls(indptr.astype(np.int64), rows, times)

    @cached_property
    def by_user(self) -> Ragged:
        """User -> clicked item rows, oldest first."""
        return Ragged(self.indptr, self.rows)

    def histories(self, users: NDArray[np.integer], *, before: NDArray[np.int64] | None = None) -> Ragged:
        """Histories of N users, most recent first, at most MAX_LIST clicks each.

        Args:
            users: (N,) rows.
            before: (N,) timestamps; only earlier clicks count.
        """
        first, end = self.indptr[users], self.indptr[np.asarray(users) + 1]
        if before is not None:
            end = first + self.count_before(users, before)
        lengths = np.minimum(end - first, MAX_LIST)
        at = np.repeat(2 * end - lengths - 1, lengths) - expand_ranges(end - lengths, lengths)
        return Ragged.of_lengths(lengths, self.rows[at])

    def count_before(self, users: NDArray[np.integer], before: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of clicks of each user (N,) before a time (N,): (N,) int64, by bisection for all users at once.

        One sorted array of user x span + time would be shorter, but overflows 64 bits with times in nanoseconds.
        """
        first = self.indptr[users]
        low, high = first.copy(), self.indptr[np.asarray(users) + 1].copy()
        while (unfinished := low < high).any():
            middle = (low + high) // 2
            earlier = np.zeros(len(low), bool)
            earlier[unfinished] = self.timestamps[middle[unfinished]] < before[unfinished]
            low, high = np.where(earlier, middle + 1, low), np.where(unfinished & ~earlier, middle, high)
        counts: NDArray[np.int64] = low - first
        return counts


def _waited(labels: NDArray[np.int8], delays: NDArray[np.int64], late: tuple[int, ...]) -> NDArray[np.int64]:
    """How long after each event (N,) its first label came, given labels (N, T) and delays (N, D) of the late tasks."""
    never = np.iinfo(np.int64).max
    came = np.where(labels[:, late] == 1, delays, never).min(axis=1)
    waited: NDArray[np.int64] = np.where(np.delete(labels, late, axis=1).any(axis=1), 0, came)
    return waited
