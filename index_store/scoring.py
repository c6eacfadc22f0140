"""MoNN as a NodeScorer: gathers what the interaction tower and the over-arch read, and calls them once a level.

The dense layers are a function that is handed in: an ONNX session in the service, the torch module in the offline job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.postings import FamilyIndex, KeyHits, item_features, node_features, user_keys
from index_store.ragged import Ragged

DenseLayers = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""(user_embedding (1, Du), item_embeddings (C, Di), interaction (C, F)) -> task logits (C, tasks), all float32."""


@dataclass(frozen=True)
class UserQuery:
    """What the scorer needs of one user.

    Attributes:
        embedding: (1, Du) float32 output of the user tower.
        hits: the user's keys, one KeyHits of one row a family.
    """

    embedding: NDArray[np.float32]
    hits: tuple[KeyHits, ...]


@dataclass(frozen=True)
class TowerScorer:
    """Scores the nodes of a tree with MoNN.

    Attributes:
        dense_layers: the interaction tower and the over-arch.
        embeddings: one (nodes, Di) float32 a level, coarse to fine: item-tower outputs of the items, virtual
            embeddings of the nodes.
        postings: for each level above the items, one Ragged a key family: key -> nodes.
        families: the key families over the catalogue.
        rows: (n_items,) int32, the item row at each position.
    """

    dense_layers: DenseLayers
    embeddings: Sequence[NDArray[np.float32]]
    postings: Sequence[Sequence[Ragged]]
    families: Sequence[FamilyIndex]
    rows: NDArray[np.int32]

    def score(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of nodes (C,) of a level: (C, tasks) float32."""
        items, interaction = self.gather(query, level, nodes)
        return self.dense_layers(query.embedding, items, interaction)

    def gather(self, query: UserQuery, level: int,
               nodes: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The item embeddings (C, Di) and interaction features (C, F) that `score` reads."""
        embeddings = self.embeddings[level - 1]
        if level == len(self.embeddings):
            features = item_features(query.hits, self.families, self.rows.take(nodes))
        else:
            features = node_features(query.hits, self.postings[level - 1], len(embeddings), nodes)
        return embeddings.take(nodes, axis=0), features[0]


def query_keys(families: Sequence[FamilyIndex], history: NDArray[np.int32], ordered: bool) -> tuple[KeyHits, ...]:
    """The keys of one user's history (M,) of item rows, most recent first, in every family."""
    one = Ragged(np.array([0, len(history)], np.int64), history)
    return tuple(user_keys(family, one, ordered) for family in families)
