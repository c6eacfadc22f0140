"""Popularity: the items with most positives, for everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.baselines.positives import Matrix


@dataclass(frozen=True)
class Popularity:
    """The baseline, fitted.

    Attributes:
        counts: (items,) float32 users with a positive on the item.
    """

    counts: NDArray[np.float32]

    @classmethod
    def fit(cls, train: Matrix) -> Popularity:
        """Counts the positives of a matrix (users, items)."""
        return cls(np.asarray(train.sum(axis=0), np.float32).ravel())

    def scores(self, users: NDArray[np.integer]) -> NDArray[np.float32]:
        """(B,) -> (B, items), the same for every user."""
        return np.tile(self.counts, (len(users), 1))
