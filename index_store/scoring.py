"""MoNN as a NodeScorer: gathers what the interaction tower and the over-arch read, and calls them once a level.

The dense layers are a function that is handed in: an ONNX session in the service, the torch module in the offline job.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index_store.postings import ItemKeys, KeyHits, item_features, node_features
from index_store.ragged import Ragged

BLOCK = 2048
"""Most pairs of one call of the dense layers: beyond, their intermediate results fall out of the processor's cache."""

Storage = NDArray[np.float32] | NDArray[np.float16]

DenseLayers = Callable[[NDArray[np.float32], Storage, NDArray[np.float32]], NDArray[np.float32]]
"""(user_embedding (1, Du), item_embeddings (C, Di), interaction (C, F)) -> task logits (C, tasks) float32."""


@dataclass
class UserQuery:
    """One question of one user.

    Attributes:
        embedding: (1, Du) float32 output of the user tower.
        hits: the user's keys, one row.
        kernel_seconds: time that the dense layers have taken for this question so far.
    """

    embedding: NDArray[np.float32]
    hits: KeyHits
    kernel_seconds: float = 0.0


class _Slots(threading.local):
    """Each thread's own zeros for `item_features` and `node_features`."""

    def __init__(self, size: int) -> None:
        self.zeros = np.zeros(size, np.int32)


@dataclass(frozen=True)
class TowerScorer:
    """Scores the nodes of a tree with MoNN.

    Attributes:
        dense_layers: the interaction tower and the over-arch.
        embeddings: one (nodes, Di) a level, coarse to fine: item-tower outputs of the items, virtual embeddings of the
            nodes; float32, or float16 if the bundle stores halves.
        postings: for each level above the items, key -> nodes.
        item_keys: the keys of the item at each position.
        n_keys: number of keys.
    """

    dense_layers: DenseLayers
    embeddings: Sequence[Storage]
    postings: Sequence[Ragged]
    item_keys: ItemKeys
    n_keys: int
    _slots: _Slots = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_slots", _Slots(max(self.n_keys, *map(len, self.embeddings))))

    def score(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of distinct nodes (C,) of a level: (C, tasks) float32."""
        if len(nodes) <= BLOCK:
            return self._score_block(query, level, nodes)
        blocks = np.array_split(nodes, -(-len(nodes) // BLOCK))
        return np.concatenate([self._score_block(query, level, block) for block in blocks])

    def _score_block(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        items, interaction = self.gather(query, level, nodes)
        start = time.perf_counter()
        logits = self.dense_layers(query.embedding, items, interaction)
        query.kernel_seconds += time.perf_counter() - start
        return logits

    def gather(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> tuple[Storage, NDArray[np.float32]]:
        """The item embeddings (C, Di) and interaction features (C, F) that `score` reads."""
        embeddings = self.embeddings[level - 1]
        if level == len(self.embeddings):
            features = item_features(query.hits, self.item_keys, nodes, self._slots.zeros)
        else:
            features = node_features(query.hits, self.item_keys.families, self.postings[level - 1], len(embeddings),
                                     nodes, self._slots.zeros)
        return embeddings.take(nodes, axis=0), features[0]
