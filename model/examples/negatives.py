"""Sampled negatives for logs of positives, with their log-Q correction.

A batch draws a pool of items from Q, a mixture of uniform and popularity, and each group of examples draws negatives
from the pool: a batch has many distinct negatives, and each is embedded once. If an item is expected n times among a
group's draws, one of them represents 1 / n items of the catalogue: its logit gets -log(n) in training, and no
correction at serving. The positive itself is counted exactly. A node's Q is the sum over its members (Section 3.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged


@dataclass(frozen=True)
class Candidates:
    """Negatives of the B examples of a batch.

    Attributes:
        ids: (B, M) int64 items or nodes.
        correction: (B, M) float32, added to their logits.
    """

    ids: NDArray[np.int64]
    correction: NDArray[np.float32]

    def part(self, examples: slice) -> Candidates:
        """Those of some of the examples."""
        return Candidates(self.ids[examples], self.correction[examples])


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

    def items(self, examples: int, draws: int, pool: int, rng: np.random.Generator) -> Candidates:
        """Draws `draws` items for each example from a common pool of `pool` items."""
        drawn = np.searchsorted(self._cumulative, rng.random(pool)).astype(np.int64)
        ids = drawn[rng.integers(0, pool, (examples, draws))]
        return Candidates(ids, -np.log(draws * self.q[ids]).astype(np.float32))

    @staticmethod
    def holding(items: Candidates, node_of_row: NDArray[np.integer], node_q: NDArray[np.float64]) -> Candidates:
        """The nodes of one level that hold the drawn items, draw by draw.

        Args:
            items: the draws.
            node_of_row: (n_items,) node of each item.
            node_q: (n_nodes,) summed Q of each node.
        """
        ids = node_of_row[items.ids].astype(np.int64)
        return Candidates(ids, -np.log(items.ids.shape[1] * node_q[ids]).astype(np.float32))

    @staticmethod
    def nodes(items: Candidates, node_of_row: NDArray[np.integer], node_q: NDArray[np.float64]) -> Candidates:
        """Like `holding`, but all nodes, without sampling, where a level has no more nodes than there are draws."""
        if len(node_q) > items.ids.shape[1]:
            return NegativeSampler.holding(items, node_of_row, node_q)
        everything = np.tile(np.arange(len(node_q)), (len(items.ids), 1))
        return Candidates(everything, np.zeros(everything.shape, np.float32))


def known_positives(candidates: NDArray[np.int64], n: int, positives: Ragged) -> NDArray[np.bool_]:
    """Marks the candidates that their user clicked: (B, M) bool.

    Args:
        candidates: (B, M) ids below n.
        n: number of items or nodes.
        positives: ids that each of B users clicked, or that hold a clicked item.
    """
    owner = np.repeat(np.arange(len(positives), dtype=np.int64), positives.lengths)
    clicked = np.unique(owner * n + positives.values)
    wanted = np.arange(len(positives), dtype=np.int64)[:, None] * n + candidates
    at = np.minimum(np.searchsorted(clicked, wanted), max(0, len(clicked) - 1))
    return clicked[at] == wanted if len(clicked) else np.zeros(candidates.shape, bool)
