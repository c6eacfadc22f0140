"""EASE in closed form: a linear map between items with a zero diagonal (Steck, arXiv 1905.03375).

B minimises |X - X B|² + penalty |B|² under diag(B) = 0: with P = (X'X + penalty I)^-1, B_ij = -P_ij / P_jj.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import spotrf, spotri

from model.baselines.positives import Matrix

PENALTIES = (20.0, 100.0, 500.0, 2500.0)
"""Tried on a hold-out of train; 500 is the paper's on a log of films."""

MOST_ITEMS = 10_000
"""Largest catalogue that is fitted unasked: time grows with the cube of the items, memory with the square."""


@dataclass(frozen=True)
class Ease:
    """The baseline, fitted.

    Attributes:
        train: (users, items).
        weights: (items, items) float32, B.
    """

    train: Matrix
    weights: NDArray[np.float32]

    @classmethod
    def fit(cls, train: Matrix, penalty: float) -> Ease:
        """Fits the map of a matrix (users, items); `penalty` is lambda, above 0."""
        gram = np.asfortranarray((train.T @ train).toarray(), np.float32)
        gram[np.diag_indices_from(gram)] += penalty
        factor, failed = spotrf(gram, overwrite_a=True)
        inverse, singular = spotri(factor, overwrite_c=True)
        if failed or singular:
            raise ArithmeticError(f"the Gram matrix is not positive definite in float32 at a penalty of {penalty}")
        upper = np.triu(inverse, 1)
        weights = np.ascontiguousarray(upper + upper.T)
        weights /= -inverse.diagonal()
        return cls(train, weights)

    def scores(self, users: NDArray[np.integer]) -> NDArray[np.float32]:
        """(B,) -> (B, items)."""
        found: NDArray[np.float32] = self.train[users] @ self.weights
        return found


def bytes_needed(items: int) -> int:
    """Peak memory of a fit: three square matrices."""
    return 3 * 4 * items**2


def flops_needed(items: int) -> float:
    """Arithmetic of a fit: a Cholesky factor and an inverse."""
    return float(items) ** 3
