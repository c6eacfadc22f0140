"""Training examples: which history a user had, and which co-click tables may be read, as if the click had not happened.

Two rules keep the label out of the features. History: in a log of impressions an example sees the clicks before its own
timestamp; in a log of positives, which has no other moment to ask about, it sees all of the user's clicks but its own
item, and so do the negatives drawn for it. Counts: users lie in folds, and an example reads co-click tables that were
counted over the other folds. So neither a history one shorter nor a count one lower marks the positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import FeatureSpec
from index_store.features.postings import FamilyReach, KeyIndex, idf
from index_store.features.ragged import Ragged, expand_ranges
from index_store.features.tower_inputs import all_item_keys
from model.data.load import Dataset, Events
from model.examples.co_click import co_click

FOLDS = 8


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
        """The events with any label set, of a log sorted by user and time."""
        clicked = events.labels.any(axis=1)
        indptr = np.searchsorted(events.users[clicked], np.arange(users + 1))
        return cls(indptr.astype(np.int64), events.items[clicked], events.timestamps[clicked])

    @property
    def lists(self) -> Ragged:
        """The item rows of every user."""
        return Ragged(self.indptr, self.rows)

    def histories(self, users: NDArray[np.integer], length: int, *, before: NDArray[np.int64] | None = None,
                  without: NDArray[np.integer] | None = None) -> Ragged:
        """Histories of N users, most recent first.

        Args:
            users: (N,) rows.
            length: most items to keep.
            before: (N,) timestamps; only earlier clicks count.
            without: (N,) item rows that are left out.
        """
        first, end = self.indptr[users], self.indptr[np.asarray(users) + 1]
        if before is not None:
            end = first + _count_before(self, users, before)
        spare = length + 1 if without is not None else length
        lengths = np.minimum(end - first, spare)
        at = np.repeat(2 * end - lengths - 1, lengths) - expand_ranges(end - lengths, lengths)
        rows = self.rows[at]
        if without is not None:
            owner = np.repeat(np.arange(len(lengths)), lengths)
            keep = rows != np.asarray(without)[owner]
            rows, owner = rows[keep], owner[keep]
            lengths = np.bincount(owner, minlength=len(lengths))
            starts = np.cumsum(lengths) - lengths
            rank = np.arange(len(rows)) - starts[owner]
            rows, lengths = rows[rank < length], np.minimum(lengths, length)
        return Ragged.of_lengths(lengths, rows)


def _count_before(clicks: Clicks, users: NDArray[np.integer], before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Clicks of each user earlier than a time: (N,) int64, by bisection in all users' clicks at once.

    One sorted array of user x span + time would be shorter, but overflows 64 bits with times in nanoseconds.
    """
    first = clicks.indptr[users]
    low, high = first.copy(), clicks.indptr[np.asarray(users) + 1].copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        earlier = np.zeros(len(low), bool)
        earlier[open_] = clicks.timestamps[middle[open_]] < before[open_]
        low, high = np.where(earlier, middle + 1, low), np.where(open_ & ~earlier, middle, high)
    counts: NDArray[np.int64] = low - first
    return counts


def key_index(dataset: Dataset, clicks: Clicks, users: NDArray[np.integer]) -> KeyIndex:
    """The key families, their co-click tables counted over the given users' clicks."""
    fields = all_item_keys(dataset.spec, dataset.items)
    histories = clicks.histories(users, dataset.spec.history_length)
    reaches = []
    for family in dataset.spec.key_families:
        of_items, n_keys = fields[family.item_field], dataset.encoder.keys_of_family(family)
        if family.via == "co_click":
            reaches.append(FamilyReach(n_keys, *co_click(histories, of_items, n_keys, family.neighbours)))
        else:
            reaches.append(FamilyReach.matching(dataset.encoder.matched_keys(family), idf(of_items, n_keys)))
    return KeyIndex.of(dataset.spec.key_families, reaches)


def fold_of_users(users: int, seed: int) -> NDArray[np.int64]:
    """A fold for each user: (U,) int64 in [0, FOLDS)."""
    return np.random.default_rng([seed, 1]).permutation(users) % FOLDS


@dataclass(frozen=True)
class Moments:
    """The moments of a log at which a user was asked about: each has one history and one or several items.

    In a log of positives every event is a moment of its own. In a log of impressions the events of a user between two
    clicks share a moment, so that their features are made once.

    Attributes:
        users: (G,) rows.
        before: (G,) int64 timestamps, or None where the history leaves out the item instead.
        events: moment -> indices of its events.
    """

    users: NDArray[np.int32]
    before: NDArray[np.int64] | None
    events: Ragged

    @classmethod
    def of(cls, spec: FeatureSpec, events: Events, clicks: Clicks, most: int) -> Moments:
        """Cuts a log into moments of at most `most` events."""
        n = len(events.users)
        if spec.negatives == "sampled":
            return cls(events.users, None, Ragged.singles(np.arange(n, dtype=np.int32)))
        seen = _count_before(clicks, events.users, events.timestamps)
        changed = np.ones(n, bool)
        changed[1:] = (np.diff(events.users) != 0) | (np.diff(seen) != 0)
        first = np.flatnonzero(changed)
        rank = np.arange(n) - np.repeat(first, np.diff(first, append=n))
        first = np.flatnonzero(rank % most == 0)
        return cls(events.users[first], events.timestamps[first],
                   Ragged.of_lengths(np.diff(first, append=n), np.arange(n, dtype=np.int32)))

    def shown(self, chosen: NDArray[np.int64],
              events: Events) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int32]]:
        """The items of chosen moments (B,), as many columns as the longest of them has.

        Args:
            chosen: moments.
            events: the log that was cut.

        Returns:
            Item rows (B, C), 0 where there is none; which there are (B, C); and the indices of their events (S,).
        """
        of = self.events.take(chosen)
        shown = np.arange(of.lengths.max()) < of.lengths[:, None]
        rows = np.zeros(shown.shape, np.int64)
        rows[shown] = events.items[of.values]
        return rows, shown, of.values

    def batches(self, fold: NDArray[np.integer], size: int,
                rng: np.random.Generator) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """One epoch in random order: (fold, moments (<= size,)), each batch from one fold of users."""
        folds = fold[self.users]
        cuts = []
        for f in range(FOLDS):
            own = rng.permutation(np.flatnonzero(folds == f))
            cuts += [(f, own[start : start + size]) for start in range(0, len(own), size)]
        for at in rng.permutation(len(cuts)):
            yield cuts[at]
