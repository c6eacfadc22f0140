"""A hold-out of the train positives, on which the settings of a baseline are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.baselines.positives import Matrix, Ranker, positives, shares_of
from model.data.load import Events
from model.data.recall_queries import RecallQueries

USERS = 2_000
"""Most users of whom something is held out."""

SHARE = 0.2
"""Of the events of such a user."""

CUTOFFS = (20, 100)


@dataclass(frozen=True)
class HoldOut:
    """Train positives without some pairs, and the question for these.

    Attributes:
        train: (users, items).
        queries: of the users of whom something is held out.
    """

    train: Matrix
    queries: RecallQueries

    @classmethod
    def of(cls, events: Events, users: int, items: int, seed: int, *, latest: bool) -> HoldOut:
        """Holds out a part of the positives of some users who have at least two.

        Args:
            events: the train events, sorted by user and time.
            users, items: of the data folder.
            seed: of the draw.
            latest: each user's latest ones, as a test by time would; else random ones.
        """
        rng = np.random.default_rng([seed, 10])
        positive = events.where(events.labels[:, 0] == 1)
        counts = np.bincount(positive.users, minlength=users)
        drawn = np.zeros(users, bool)
        drawn[rng.permutation(np.flatnonzero(counts >= 2))[:USERS]] = True
        held = np.zeros(len(positive), bool)
        order = np.arange(len(positive)) if latest else np.lexsort((rng.random(len(positive)), positive.users))
        place = np.arange(len(positive)) - np.searchsorted(positive.users, positive.users)
        kept = counts - np.maximum(1, np.round(SHARE * counts)).astype(np.int64)
        held[order] = drawn[positive.users] & (place >= kept[positive.users])
        rest = positive.where(~held)
        return cls(positives(rest, users, items), RecallQueries.draw(rest, positive.where(held), users, 0, seed))

    def recall(self, ranker: Ranker, at: Sequence[int] = CUTOFFS) -> float:
        """Mean recall at the cut-offs, 0 without users."""
        shares: NDArray[np.float64] = shares_of(ranker, self.train, self.queries, at)
        return float(shares.mean()) if len(shares) else 0.0
