"""MoNN as a NodeScorer of a sharded index: nodes are scored here, items by the shards that hold them.

The search itself is that of an unsharded index, so its beam, targeting, caps, bids and explanations are the same ones,
and so are its answers, whatever the number of shards. Below the leaf nodes there is nothing left to decide: a search
asks each shard that holds an item of the beam once, for the logits of these items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.search.scoring import TowerScorer, UserQuery


@dataclass(frozen=True, eq=False)
class ShardItems:
    """Items of one shard.

    Attributes:
        shard: its number.
        positions: (C,) int64 distinct positions, the first of the shard being 0.
    """

    shard: int
    positions: NDArray[np.int64]


Logits = NDArray[np.float32]


class ShardsAwayError(Exception):
    """Shards are gone or late, and nothing can be done without them."""


class Shards(Protocol):
    """The shards of one root."""

    def ask(self, query: UserQuery, wanted: Sequence[ShardItems]) -> Callable[[], Sequence[Logits | None]]:
        """Asks several shards at once for the logits of their items without those of the levels above.

        Args:
            query: whose `search_by` limits the wait.
            wanted: of each shard that is asked, at least one.

        Returns:
            What waits for the answers: (C, tasks) float32 of each in their order, None of one that is gone or late.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ShardedScorer(TowerScorer):
    """Scores the nodes of a tree with MoNN, the items of which others hold.

    An item whose shard is gone or late gets NaN for logits, see NodeScorer.

    Attributes:
        shards: score the items.
        bounds: (S + 1,) first position of each shard, and their end.
        tasks: number of tasks.
    """

    shards: Shards
    bounds: NDArray[np.int64]
    tasks: int

    def score_alone(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """As of a TowerScorer, for those who cannot do without a node.

        Raises:
            ShardsAwayError: a shard is gone or late.
        """
        logits = super().score_alone(query, level, nodes)
        if np.isnan(logits).any():
            away = int(np.isnan(logits[:, 0]).sum())
            raise ShardsAwayError(f"{away} of {len(nodes)} items cannot be scored: a shard is gone or late")
        return logits

    def _own(self, query: UserQuery, layer: int, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        if level < self.tree.depth:
            return super()._own(query, layer, level, nodes)
        beyond = 0 if query.added is None else int(np.count_nonzero(nodes >= self.tree.n_items))
        owners = np.searchsorted(self.bounds, nodes[beyond:], side="right") - 1
        order = np.argsort(owners, kind="stable")
        asked, begins = np.unique(owners[order], return_index=True)
        places = [beyond + own for own in np.split(order, begins[1:])] if len(asked) else []
        wanted = [ShardItems(shard, nodes[own] - self.bounds[shard])
                  for shard, own in zip(asked.tolist(), places, strict=True)]
        answers = self.shards.ask(query, wanted)
        logits = np.full((len(nodes), self.tasks), np.nan, np.float32)
        if beyond:  # while the shards are at it
            logits[:beyond] = super()._own(query, layer, level, nodes[:beyond])
        for own, found in zip(places, answers(), strict=True):
            if found is not None:
                logits[own] = found
        return logits
