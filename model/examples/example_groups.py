"""Groups of training examples that share a user and a history, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import FeatureSpec
from index_store.features.ragged import Ragged
from model.data.load import Events
from model.examples.clicks import Clicks
from model.examples.folds import FOLDS


@dataclass(frozen=True)
class ExampleGroups:
    """Events of a log, grouped by shared history.

    In a log of positives every event is a group of its own. In a log of impressions the events of a user between two
    clicks form a group, so that the user's features are computed once for all of them.

    Attributes:
        users: (G,) rows.
        before: (G,) int64 timestamps of a log of impressions; None in a log of positives, whose histories leave out
            the example's own item instead.
        events: group -> indices of its events.
    """

    users: NDArray[np.int32]
    before: NDArray[np.int64] | None
    events: Ragged

    @classmethod
    def of(cls, spec: FeatureSpec, events: Events, clicks: Clicks, most: int) -> ExampleGroups:
        """Groups the events of a log, at most `most` events per group."""
        n = len(events.users)
        if spec.negatives == "sampled":
            return cls(events.users, None, Ragged.singles(np.arange(n, dtype=np.int32)))
        seen = clicks.count_before(events.users, events.timestamps)
        changed = np.ones(n, bool)
        changed[1:] = (np.diff(events.users) != 0) | (np.diff(seen) != 0)
        first = np.flatnonzero(changed)
        rank = np.arange(n) - np.repeat(first, np.diff(first, append=n))
        first = np.flatnonzero(rank % most == 0)
        return cls(events.users[first], events.timestamps[first],
                   Ragged.of_lengths(np.diff(first, append=n), np.arange(n, dtype=np.int32)))

    def __len__(self) -> int:
        return len(self.users)

    def padded_items(self, chosen: NDArray[np.int64],
                     events: Events) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int32]]:
        """The items of chosen groups (B,) as a matrix with as many columns as the largest of them has events.

        Args:
            chosen: groups.
            events: the log that was grouped.

        Returns:
            Item rows (B, C), 0 where a group has fewer events; which cells hold an event (B, C); and the indices of
            these events (S,).
        """
        of = self.events.take(chosen)
        filled = np.arange(of.lengths.max()) < of.lengths[:, None]
        rows = np.zeros(filled.shape, np.int64)
        rows[filled] = events.items[of.values]
        return rows, filled, of.values

    def batches(self, fold: NDArray[np.integer], size: int,
                rng: np.random.Generator) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """One epoch in random order: (fold, groups (<= size,)), each batch from one fold of users.

        Args:
            fold: (U,) of the users.
            size: of a batch.
            rng: shuffles.
        """
        folds = fold[self.users]
        cuts = []
        for f in range(FOLDS):
            own = rng.permutation(np.flatnonzero(folds == f))
            cuts += [(f, own[start : start + size]) for start in range(0, len(own), size)]
        for at in rng.permutation(len(cuts)):
            yield cuts[at]
