"""The two towers in closed form: a truncated SVD of the normalised interactions by subspace iteration.

A user's vector is the sum of the vectors of the user's items, so a new user with a history has one too. An iteration
passes over all pairs once, like an epoch, and can start from earlier vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.backbone.interactions import Matrix, degrees, lengths, scaled

OVERSAMPLING = 64
"""Directions beyond those wanted, since the last ones of a subspace iteration converge slowly."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Towers:
    """Item vectors of the low-pass filter.

    Attributes:
        vectors: (items, D) float32, orthonormal columns, strongest direction first.
        strengths: (D,) float32 singular values, at most 1.
    """

    vectors: Array
    strengths: Array


def normalised(train: Matrix, user_power: float = 0.5, item_power: float = 0.5) -> Matrix:
    """Each pair divided by powers of its user's and its item's number of pairs."""
    users = np.maximum(lengths(train), 1).astype(np.float32)
    return scaled(train, users**-user_power, degrees(train)**-item_power)


def fit_towers(rows: Matrix, dims: int, rng: np.random.Generator, *, iterations: int = 12,
               start: Array | None = None) -> Towers:
    """Strongest right singular vectors of a matrix.

    Args:
        rows: (users, items) CSR, normalised.
        dims: wanted; fewer come back of a matrix that has fewer.
        rng: draws the start.
        iterations: passes over the pairs.
        start: (items, any) vectors to start from; random directions are added up to `dims` + OVERSAMPLING.
    """
    items = rows.shape[1]
    width = min(dims + OVERSAMPLING, *rows.shape)
    given = np.empty((items, 0), np.float32) if start is None else start[:, :width]
    drawn = rng.normal(scale=items**-0.5, size=(items, width - given.shape[1])).astype(np.float32)
    basis = _orthonormal(np.concatenate([given, drawn], axis=1))
    columns = rows.T.tocsr()
    for _ in range(iterations):
        basis = _orthonormal(columns @ (rows @ basis))
    users = rows @ basis
    squares, rotation = np.linalg.eigh((users.T @ users).astype(np.float64))
    kept = np.argsort(-squares)[:dims]
    strengths = np.sqrt(np.maximum(squares[kept], 0)).astype(np.float32)
    alive = strengths > 1e-4 * strengths[0]
    return Towers((basis @ rotation[:, kept].astype(np.float32))[:, alive], strengths[alive])


def _orthonormal(columns: Array) -> Array:
    """An orthonormal basis of the same space, by the columns' Gram matrix; twice, since once leaves rounding errors."""
    for _ in range(2):
        gram = columns.T @ columns
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
        alive = values > 1e-10 * values[-1]
        columns = columns @ (vectors[:, alive] / np.sqrt(values[alive])).astype(np.float32)
    return columns
