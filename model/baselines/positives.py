"""The train positives of the first task as a sparse matrix, and rankings of users by whatever is fitted on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.data.load import Events
from model.data.recall_queries import RecallQueries

Matrix = Any
"""A `scipy.sparse.csr_matrix` (users, items) of ones, float32; scipy has no types."""

BLOCK_BYTES = 1 << 28
"""Most bytes of scores at a time."""


class Ranker(Protocol):
    """A fitted baseline."""

    def scores(self, users: NDArray[np.integer]) -> NDArray[np.float32]:
        """Scores (B, items) of all items for user rows (B,)."""
        ...


def positives(events: Events, users: int, items: int) -> Matrix:
    """Pairs with label 1 in the first task, each once: (users, items)."""
    chosen = events.labels[:, 0] == 1
    pairs = sparse.csr_matrix((np.ones(chosen.sum(), np.float32), (events.users[chosen], events.items[chosen])),
                              shape=(users, items))
    pairs.sum_duplicates()
    pairs.data[:] = 1
    return pairs


def lengths(train: Matrix) -> NDArray[np.int64]:
    """Positives of each user, (users,)."""
    found: NDArray[np.int64] = np.diff(train.indptr).astype(np.int64)
    return found


def shares_of(ranker: Ranker, train: Matrix, queries: RecallQueries, at: Sequence[int]) -> NDArray[np.float64]:
    """Share of each user's targets among the K best: (N, cut-offs).

    A user without train positives is ranked by popularity, since the other baselines know nothing of such a user.

    Args:
        ranker: fitted on `train`.
        train: (users, items).
        queries: of N users.
        at: cut-offs K.
    """
    popular = np.asarray(train.sum(axis=0), np.float32).ravel()
    known = lengths(train) > 0
    shares = np.zeros((len(queries.users), len(at)))
    step = max(1, BLOCK_BYTES // (4 * train.shape[1]))
    for start in range(0, len(queries.users), step):
        users = queries.users[start:start + step]
        for place, scores in enumerate(np.asarray(ranker.scores(users), np.float32), start):
            shares[place] = queries.shares(place, scores if known[users[place - start]] else popular.copy(), at)
    return shares
