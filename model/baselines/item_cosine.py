"""Item cosine: an item's score is the sum of its cosines with the user's items, if they are among its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.baselines.positives import Matrix

NEIGHBOURS = 200
"""Most similar items that are kept of each item."""

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
    def fit(cls, train: Matrix, neighbours: int = NEIGHBOURS) -> ItemCosine:
        """Cosines between the columns of a matrix (users, items)."""
        norms = np.sqrt(np.asarray(train.sum(axis=0)).ravel())
        scaled = (train @ sparse.diags((1 / np.maximum(norms, 1)).astype(np.float32))).tocsc()
        by_item, rows = scaled.T.tocsr(), scaled.tocsr()
        blocks = []
        for start in range(0, train.shape[1], _BLOCK):
            cosines = (by_item[start:start + _BLOCK] @ rows).tocsr()
            blocks.append(_nearest(cosines, start, neighbours))
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
