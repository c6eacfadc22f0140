"""Groups of training examples that share a user and a history, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.features.ragged import Ragged
from model.data.load import Events
from model.examples.clicks import Clicks


@dataclass(frozen=True)
class ExampleGroups:
    """Events of a log, grouped by shared history.

    In a log of positives the events of a user in a fold form a group, and their history is the user's clicks in the
    other folds; their context, if the model reads any, is the same, since the negatives of a group stand against each
    of its events. In a log of impressions it is those of a user in a fold between two clicks. Either way, the user's
    features are computed once for all of them.

    Attributes:
        users: (G,) rows.
        before: (G,) int64 timestamps of a log of impressions; None in a log of positives.
        events: group -> indices of its events.
        fold: (G,) of its events.
    """

    users: NDArray[np.int32]
    before: NDArray[np.int64] | None
    events: Ragged
    fold: NDArray[np.integer]

    @classmethod
    def of(cls, spec: FeatureSpec, events: Events, clicks: Clicks, most: int,
           fold: NDArray[np.integer] | None = None) -> ExampleGroups:
        """Groups the events of a log.

        Args:
            spec: of the log.
            events: sorted by user and time.
            clicks: of the events.
            most: events of a group.
            fold: (N,) of the events; None for a single one.
        """
        n, folds = len(events), np.zeros(len(events), np.int64) if fold is None else fold
        seen = np.zeros(n, np.int64)
        if spec.negatives == "impressions":
            seen = clicks.count_before(events.users, events.timestamps)
        context = [] if spec.negatives == "impressions" or events.context is None else list(events.context.T)
        order = np.lexsort((*context, folds, seen, events.users)).astype(np.int32)
        alike = np.stack([events.users, seen, folds, *context])[:, order]
        changed = np.ones(n, bool)
        changed[1:] = (np.diff(alike) != 0).any(axis=0)
        first = np.flatnonzero(changed)
        rank = np.arange(n) - np.repeat(first, np.diff(first, append=n))
        first = np.flatnonzero(rank % most == 0)
        of = order[first]
        before = events.timestamps[of] if spec.negatives == "impressions" else None
        return cls(events.users[of], before, Ragged.of_lengths(np.diff(first, append=n), order), folds[of])

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

    def context(self, chosen: NDArray[np.int64], ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Ids of the context fields of the events of chosen groups (B,): (S, fields), group by group.

        In a log of positives, where those of a group are the same, (B, fields).

        Args:
            chosen: groups.
            ids: of all events (N, fields).
        """
        events = self.events
        return ids[events.take(chosen).values if self.before is not None else events.values[events.indptr[chosen]]]

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """One epoch in random order: (fold, groups (<= size,)), each batch from one fold.

        Args:
            size: of a batch.
            rng: shuffles.
        """
        cuts = []
        for f in np.unique(self.fold).tolist():
            own = rng.permutation(np.flatnonzero(self.fold == f))
            cuts += [(f, own[start : start + size]) for start in range(0, len(own), size)]
        for at in rng.permutation(len(cuts)):
            yield cuts[at]
