"""The negatives of a group of examples: some of a common pool, some near its user's history, and some hard ones.

The log-Q correction counts how often a candidate is expected over all sources, whichever it was drawn by: weights
are small wherever any of the sources draws often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.interaction import feature_names
from index_store.features.ragged import Ragged
from model.config.train import TrainConfig
from model.examples.batches import BatchReader, TreeReader, spectral_towers_of
from model.examples.hard_negatives import HardDraws, HardSampler
from model.examples.near_negatives import NearDraws, NearSampler
from model.examples.negatives import Candidates, NegativeSampler
from model.examples.user_batch import UserFeatures


@dataclass(frozen=True)
class Drawn:
    """Negatives of the B groups of a batch.

    Attributes:
        pool: those of the pool.
        rows: (B, M) int64 all of them; the first are those of the pool.
        near, hard: those of the other sources, None without any.
        clicked: what each user clicked, which is never a negative.
    """

    pool: Candidates
    rows: NDArray[np.int64]
    near: NearDraws | None
    hard: HardDraws | None
    clicked: Ragged

    def part(self, groups: slice) -> Drawn:
        """Those of some of the groups."""
        return Drawn(self.pool.part(groups), self.rows[groups], None if self.near is None else self.near.part(groups),
                     None if self.hard is None else self.hard.part(groups), self.clicked.part(groups))


class MixedSampler:
    """Draws negatives from all sources.

    Args:
        reader: of the log.
        pool: the common pool.
        config: how many to draw, and which shares of them.
    """

    def __init__(self, reader: BatchReader, pool: NegativeSampler, config: TrainConfig) -> None:
        self._pool, self._config = pool, config
        self._near = NearSampler(reader.spec, reader.dataset.encoder.key_starts(), reader.keys)
        self._hard = HardSampler(feature_names(reader.spec))
        self._hard_draws = min(round(config.hard_share * config.negatives), config.negatives - 1)

    def draw(self, users: UserFeatures, clicked: Ragged, rng: np.random.Generator) -> Drawn:
        """Draws for B users, who clicked `clicked`; at least one of the pool, for nodes and for unknown users."""
        config, hard = self._config, self._hard_draws
        near = self._near.draws_of(min(round(config.near_share * config.negatives), config.negatives - 1 - hard))
        pool = self._pool.items(len(clicked), config.negatives - near - hard, config.negative_pool, rng)
        of_near = self._near.draw(users.hits, clicked, near, rng) if near else None
        of_hard = self._hard.draw(users.spectral, spectral_towers_of(users.index).items, clicked, hard,
                                  rng) if hard else None
        found = np.concatenate([pool.ids, *(drawn.items for drawn in (of_near, of_hard) if drawn is not None)], axis=1)
        more = pool.ids[:, rng.integers(0, pool.ids.shape[1], found.shape[1])]
        return Drawn(pool, np.where(found < 0, more, found), of_near, of_hard, clicked)

    def corrected(self, drawn: Drawn, features: NDArray[np.float32]) -> Candidates:
        """The drawn items with the logarithm of how often each is expected, given their features (B, M, F)."""
        pooled, more = np.full(len(drawn.rows), drawn.pool.ids.shape[1]), np.zeros(drawn.rows.shape)
        if drawn.near is not None:
            pooled += (drawn.near.items < 0).sum(axis=1)
            more += self._near.expected(drawn.near, features)
        if drawn.hard is not None:
            pooled += (drawn.hard.items < 0).sum(axis=1)
            more += self._hard.expected(drawn.hard, features)
        return Candidates(drawn.rows, -np.log(pooled[:, None] * self._pool.q[drawn.rows] + more).astype(np.float32))

    def nodes(self, drawn: Drawn, users: UserFeatures, clicked: Ragged, tree: TreeReader, level: int,
              node_q: NDArray[np.float64], rng: np.random.Generator) -> tuple[Candidates, NDArray[np.float32]]:
        """Negatives among the nodes of a level, and their interaction features (B, M, F): all nodes, or those that hold
        the draws of the pool, and hard ones.

        Args:
            drawn: the items.
            users: B users.
            clicked: the nodes that hold an item that each user clicked.
            tree, level: of the nodes.
            node_q: (nodes,) summed Q of each node.
            rng: draws.
        """
        nodes = self._pool.nodes(drawn.pool, tree.node_of_row[level - 1], node_q)
        if tree.tree.size(level) <= nodes.ids.shape[1] or not self._hard_draws:
            return nodes, tree.features(users, level, nodes.ids)
        found = self._hard.draw(users.spectral, tree.vectors(users.index, level), clicked, self._hard_draws, rng)
        more = nodes.ids[:, rng.integers(0, nodes.ids.shape[1], found.items.shape[1])]
        ids = np.concatenate([nodes.ids, np.where(found.items < 0, more, found.items)], axis=1)
        pooled, features = nodes.ids.shape[1] + (found.items < 0).sum(axis=1), tree.features(users, level, ids)
        expected = pooled[:, None] * node_q[ids] + self._hard.expected(found, features)
        return Candidates(ids, -np.log(expected).astype(np.float32)), features
