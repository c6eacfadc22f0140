"""Hard negatives: the items or nodes that a user's spectral tower ranks highest.

A sampled softmax that rarely sees what the model scores highest underestimates the sum over the catalogue, and training
rewards just that: scores grow where no draw falls (docs/decisions/0018). Here draws fall where scores are high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from index_store.features.spectral import RAW_OFFSET, SpectralQueries
from index_store.features.spectral_vectors import SpectralVectors

PART = 8192
"""Most items that a batch looks at: a small matrix product, and in a catalogue of a million still some of everybody's
best."""

LEAST, SLACK = 1e-5, 1e-4
"""Least product of a hard negative, and by how much a threshold is lowered for rounding errors."""


@dataclass(frozen=True)
class HardDraws:
    """Those of a random part of the items that have the largest spectral products with B users.

    Attributes:
        items: (B, draws) int64, -1 where no other item of the part has a positive product.
        thresholds: (B,) float64, least value of `spectral.raw` of what is drawn.
        share: of the items that was looked at.
    """

    items: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    share: float

    def part(self, users: slice) -> HardDraws:
        """Those of some of the users."""
        return HardDraws(self.items[users], self.thresholds[users], self.share)


class HardSampler:
    """Draws the items, of a random part of them, that have the largest spectral products.

    Which part is random, but not what is drawn from it: an item that reaches the user's threshold is expected `share`
    times.

    Args:
        names: of the interaction features.
    """

    def __init__(self, names: list[str]) -> None:
        self._column = names.index("spectral.raw")

    def draw(self, queries: SpectralQueries, vectors: SpectralVectors, clicked: Ragged, draws: int,
             rng: np.random.Generator) -> HardDraws:
        """Draws for B users.

        Args:
            queries: B users.
            vectors: of N items, or of the nodes of a level.
            clicked: those that each user clicked, or that hold a clicked item; they are not drawn.
            draws: of a user.
            rng: chooses the part.
        """
        n = len(vectors)
        rows = np.sort(rng.choice(n, PART, replace=False)) if n > PART else np.arange(n)
        products = queries.sums @ vectors.dense(rows).T
        place = np.full(n, -1)
        place[rows] = np.arange(len(rows))
        at, owner = place[clicked.values], np.repeat(np.arange(len(clicked)), clicked.lengths)
        products[owner[at >= 0], at[at >= 0]] = 0
        first = max(0, len(rows) - draws)
        best = np.argpartition(products, first, axis=1)[:, first:]
        reached = np.take_along_axis(products, best, axis=1) * queries.scales[:, -1:]
        least = np.maximum(reached.min(axis=1), LEAST).astype(np.float64)
        return HardDraws(np.where(reached > LEAST, rows[best], -1), np.log(least + RAW_OFFSET) - SLACK, len(rows) / n)

    def expected(self, drawn: HardDraws, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """How often each candidate is expected among a user's draws: (B, M), given its features (B, M, F)."""
        return np.where(features[:, :, self._column] >= drawn.thresholds[:, None], drawn.share, 0.0)
