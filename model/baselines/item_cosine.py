"""Item cosine: an item's score is the sum of its cosines with the user's items, if they are among its neighbours.

With n_a users of item a and n_ab of both, the cosine is n_ab / (sqrt(n_a n_b) + shrinkage). Without shrinkage two items
that were clicked once, by one user, are as near as can be, which ruins it on logs with many rare items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.baselines.positives import Matrix

NEIGHBOURS = 200
"""Most similar items that are kept of each item."""

SHRINKAGES = (0.0, 10.0, 100.0)
"""Tried on a hold-out of train."""

_BLOCK = 512


@dataclass(frozen=True)
class ItemCosine:
    """The baseline, fitted.

    Attributes:
        train: (users, items).
        similar: (items, items) CSR: column c holds the cosines of item c with its neighbours.
    """

    train: Matrix
    similar: Matrix

    @classmethod
    def fit(cls, train: Matrix, shrinkage: float = 0.0, neighbours: int = NEIGHBOURS) -> ItemCosine:
        """Cosines between the columns of a matrix (users, items)."""
        norms = np.sqrt(np.asarray(train.sum(axis=0), np.float32).ravel())
        by_item = train.T.tocsr()
        blocks = []
        for start in range(0, train.shape[1], _BLOCK):
            both = (by_item[start:start + _BLOCK] @ train).tocsr()
            owner = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
            both.data /= norms[owner + start] * norms[both.indices] + np.float32(shrinkage)
            blocks.append(_nearest(both, start, neighbours))
        return cls(train, sparse.vstack(blocks).T.tocsr())

    def scores(self, users: NDArray[np.integer]) -> NDArray[np.float32]:
        """(B,) -> (B, items)."""
        found: NDArray[np.float32] = (self.train[users] @ self.similar).toarray()
        return found


def _nearest(cosines: Matrix, first: int, neighbours: int) -> Matrix:
    """The largest entries of each row of cosines (rows, items), whose row r is the item first + r, without itself."""
    owner = np.repeat(np.arange(cosines.shape[0]), np.diff(cosines.indptr))
    others = cosines.indices != owner + first
    owner, items, values = owner[others], cosines.indices[others], cosines.data[others]
    order = np.lexsort((items, -values, owner))
    owner, items, values = owner[order], items[order], values[order]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    kept = rank < neighbours
    return sparse.csr_matrix((values[kept], (owner[kept], items[kept])), shape=cosines.shape)
