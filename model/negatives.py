"""Negatives for logs that hold only positives: shared by a batch, with what the log-Q correction needs.

Candidates are drawn with replacement from Q, a mixture of uniform and popularity. A candidate that was drawn m times
out of n stands for m / (n Q) of the catalogue, so its logit gets log m - log(n Q) in training, and nothing at serving.
The positive itself is counted exactly. A node's Q is the sum over its members (Section 3.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features import Ragged


@dataclass(frozen=True)
class Candidates:
    """Shared negatives of a batch.

    Attributes:
        ids: (M,) int64 distinct items or nodes.
        correction: (M,) float32 to add to their logits.
    """

    ids: NDArray[np.int64]
    correction: NDArray[np.float32]


class NegativeSampler:
    """Draws items by Q = uniform_share / n + (1 - uniform_share) popularity.

    Args:
        popularity: (n_items,) clicks of each item.
        uniform_share: in (0, 1].
    """

    def __init__(self, popularity: NDArray[np.integer], uniform_share: float) -> None:
        n = len(popularity)
        self.q = uniform_share / n + (1 - uniform_share) * popularity / max(1, popularity.sum())
        self._cumulative = np.cumsum(self.q)
        self._cumulative /= self._cumulative[-1]

    def draw(self, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Item rows (draws,) with repetitions."""
        return np.searchsorted(self._cumulative, rng.random(draws)).astype(np.int64)

    def items(self, drawn: NDArray[np.int64]) -> Candidates:
        """The distinct items among the drawn ones."""
        return _distinct(drawn, self.q)

    def nodes(self, drawn: NDArray[np.int64], node_of_row: NDArray[np.integer],
              node_q: NDArray[np.float64]) -> Candidates:
        """The nodes of one level that hold the drawn items; all of them, exactly, where a level has no more nodes.

        Args:
            drawn: item rows (draws,).
            node_of_row: (n_items,) node of each item.
            node_q: (n_nodes,) summed Q of each node.
        """
        if len(node_q) <= len(drawn):
            return Candidates(np.arange(len(node_q)), np.zeros(len(node_q), np.float32))
        return _distinct(node_of_row[drawn].astype(np.int64), node_q)


def _distinct(drawn: NDArray[np.int64], q: NDArray[np.float64]) -> Candidates:
    ids, times = np.unique(drawn, return_counts=True)
    return Candidates(ids, np.log(times / (len(drawn) * q[ids])).astype(np.float32))


def known_positives(candidates: NDArray[np.int64], n: int, positives: Ragged) -> NDArray[np.bool_]:
    """Which candidates each user is known to like: (B, M) bool.

    Args:
        candidates: (M,) distinct ids below n.
        n: number of items or nodes.
        positives: ids that each of B users clicked, or that hold a clicked item.
    """
    slot = np.full(n, -1, np.int64)
    slot[candidates] = np.arange(len(candidates))
    owner = np.repeat(np.arange(len(positives)), np.diff(positives.indptr))
    hit = slot[positives.values]
    known = np.zeros((len(positives), len(candidates)), bool)
    known[owner[hit >= 0], hit[hit >= 0]] = True
    return known
