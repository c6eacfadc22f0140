"""Interaction features from ids: sums over the neighbours of a user's items, and over the items of similar users.

Both are walks over postings (user -> item -> user -> item), sharpened by a power of the similarity. A term gives
every item a score for each user of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.backbone.interactions import Matrix, degrees, lengths, scaled
from model.backbone.spectral import normalised

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ItemTerm:
    """sum over a user's items j of P_ji^power (d_i / d_j)^item_power, P = R~^T R~ without its diagonal.

    Attributes:
        user_power: discounts long histories in P.
        power: of each entry of P; above 1 gives near neighbours more weight.
        item_power: of the items' number of pairs; 0 favours rare items, 0.5 is GF-CF's linear filter.
    """

    user_power: float
    power: float
    item_power: float


@dataclass(frozen=True)
class UserTerm:
    """sum over other users v of cos(u, v)^power R_vi d_i^-damping, cos over rows whose items count d^-item_power."""

    item_power: float
    power: float
    damping: float = 0.15


ITEM_TERMS = (ItemTerm(0.5, 1.0, 0.35), ItemTerm(0.5, 1.5, 0.35), ItemTerm(0.5, 2.0, 0.35), ItemTerm(0.5, 1.0, 0.0),
              ItemTerm(1.0, 1.0, 0.35))
USER_TERMS = (UserTerm(0.5, 1.0), UserTerm(0.5, 2.0), UserTerm(0.25, 2.0))


class Neighbours:
    """The neighbour terms of one matrix of train pairs.

    Args:
        train: (users, items) CSR.
    """

    count = len(ITEM_TERMS) + len(USER_TERMS)

    def __init__(self, train: Matrix) -> None:
        self.train = train
        self.degrees = degrees(train)
        walks = {power: _co_occurrence(normalised(train, power))
                 for power in dict.fromkeys(t.user_power for t in ITEM_TERMS)}
        self.walks = [_power(walks[term.user_power], term.power) for term in ITEM_TERMS]
        self.rows = {power: _unit_rows(scaled(train, None, self.degrees**-power))
                     for power in dict.fromkeys(t.item_power for t in USER_TERMS)}
        self.columns = {power: rows.T.tocsr() for power, rows in self.rows.items()}

    def terms(self, users: NDArray[np.integer]) -> Iterator[Array]:
        """One (B, items) float32 a term for the users (B,): first ITEM_TERMS, then USER_TERMS."""
        own = self.train[users]
        for term, walk in zip(ITEM_TERMS, self.walks, strict=True):
            weights = self.degrees**term.item_power
            yield (scaled(own, None, np.reciprocal(weights)) @ walk).toarray() * weights
        for power, rows in self.rows.items():
            similar = rows[users] @ self.columns[power]
            owners = np.repeat(users, np.diff(similar.indptr))
            similar.data[similar.indices == owners] = 0
            for likes in USER_TERMS:
                if likes.item_power == power:
                    yield (_power(similar, likes.power) @ self.train).toarray() * self.degrees**-likes.damping


def _co_occurrence(rows: Matrix) -> Matrix:
    """rows^T rows without its diagonal: (items, items) CSR."""
    product = (rows.T.tocsr() @ rows).tocsr()
    owners = np.repeat(np.arange(product.shape[0]), np.diff(product.indptr))
    product.data[product.indices == owners] = 0
    return product


def _power(weights: Matrix, power: float) -> Matrix:
    """Entries to a power; the structure is shared, not copied."""
    if power == 1:
        return weights
    return sparse.csr_array((weights.data**power, weights.indices, weights.indptr), shape=weights.shape)


def _unit_rows(rows: Matrix) -> Matrix:
    """Rows of length 1; empty ones stay empty."""
    owners = np.repeat(np.arange(rows.shape[0]), lengths(rows))
    squares = np.bincount(owners, weights=rows.data.astype(np.float64)**2, minlength=rows.shape[0])
    return scaled(rows, (1 / np.sqrt(np.maximum(squares, 1e-30))).astype(np.float32), None)
