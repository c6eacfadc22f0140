"""MoNN as a NodeScorer: gathers the inputs of the interaction tower and over-arch, and calls them once per level.

Nodes may have a layer of their own, which ranks them and adds nothing to the items' logits.

A stacked MoNN (Section 4.6) has a layer of its own for some levels above the items; it also scores the levels between
its own and that of the layer above. A layer's logits at its own level are added to those of everything below; they are
computed once per node and kept with the query. Its logits at the levels between rank the beam and are then dropped.

The caller provides the dense layers as functions: the compiled kernel where it knows them, or else ONNX sessions;
torch modules where the trained network is asked itself.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.features.interaction import Slots, item_features, node_features
from index_store.features.postings import ItemKeys
from index_store.features.ragged import Ragged
from index_store.features.spectral import SpectralQueries
from index_store.features.spectral_vectors import SpectralVectors
from index_store.features.user_keys import KeyHits
from index_store.kernel.pair_kernel import PairKernel
from index_store.speculation.corrections import Corrections
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree

BLOCK = 2048
"""Most pairs in one call of the dense layers; beyond it their intermediate results do not fit the CPU cache."""

Storage = NDArray[np.float32] | NDArray[np.float16]

DenseLayers = Callable[[NDArray[np.float32], Storage, NDArray[np.float32]], NDArray[np.float32]]
"""(user_embedding (1, Du), item_embeddings (C, Di), interaction (C, F)) -> task logits (C, tasks) float32."""


@dataclass(frozen=True, eq=False)
class AddedItems:
    """What the scorer reads of items that are placed beyond the tree, one row each, as it does of the tree's own.

    Attributes:
        placed: where they are.
        embeddings: (J, Di) outputs of the item tower.
        keys: of each.
        spectral: vectors of each, one entry; empty in a bundle without spectral towers.
    """

    placed: PlacedItems
    embeddings: Storage
    keys: ItemKeys
    spectral: tuple[SpectralVectors, ...]


@dataclass
class UserQuery:
    """One query of one user.

    Attributes:
        embedding: (1, Du) float32 output of the user tower, with what the context adds.
        hits: the user's keys, one row.
        spectral: the user's vector, one row; None in a bundle without spectral towers.
        kernel_seconds: time spent in the dense layers for this query so far.
        carried: logits of the layers above the items so far: level -> (nodes, tasks) float32, NaN for a node not yet
            scored.
        added: items beyond the tree; None if it sees none.
        shift: (tasks,) float32 that the context adds to all logits; None for nothing.
        search_by: when the search should end, in seconds of `time.perf_counter()`, for a scorer that waits for others;
            None for no deadline.
        corrections: what the pairs of a foundation model add to the logits of items; None where none are known.
    """

    embedding: NDArray[np.float32]
    hits: KeyHits
    spectral: SpectralQueries | None = None
    added: AddedItems | None = None
    kernel_seconds: float = 0.0
    carried: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    shift: NDArray[np.float32] | None = None
    search_by: float | None = None
    corrections: Corrections | None = None


def layer_of_level(ensemble: Sequence[int], level: int) -> int:
    """The layer of a stack, 0 the coarsest, that scores a level: the first whose own level is not above it."""
    return bisect_left(ensemble, level)


@dataclass(frozen=True)
class TowerScorer:
    """Scores the nodes of a tree with MoNN.

    Attributes:
        tree: the nodes.
        layers: interaction tower and over-arch of each layer of a stack, coarse to fine, the last one for the items. If
            the model is not stacked, those of the nodes and of the items, or a single one for both.
        ensemble: the own levels of all layers but the last, ascending.
        embeddings: one (nodes, Di) per level, coarse to fine: item-tower outputs of the items, virtual embeddings of
            the nodes, from the layer that scores the level; float32, or float16 if the bundle stores halves.
        postings: for each level above the items, key -> nodes.
        item_keys: the keys of the item at each position.
        n_keys: number of keys.
        spectral: vectors of the nodes of each level, the items last; empty in a bundle without spectral towers.
    """

    tree: Tree
    layers: Sequence[DenseLayers]
    ensemble: tuple[int, ...]
    embeddings: Sequence[Storage]
    postings: Sequence[Ragged]
    item_keys: ItemKeys
    n_keys: int
    spectral: Sequence[SpectralVectors] = ()
    _slots: Slots = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_slots", Slots(max(self.n_keys, *map(len, self.embeddings))))

    def score(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of distinct nodes (C,) of a level, including those of the layers above: (C, tasks) float32.

        Items beyond the tree have to come first.
        """
        layer = self._layer_of(level)
        if level in self.ensemble:
            logits = self._carried(query, layer, nodes)
        else:
            logits = self._summed(query, layer, level, nodes)
        if query.corrections is not None and level == self.tree.depth:
            logits = logits + query.corrections.added(nodes)
        return logits if query.shift is None else logits + query.shift

    def _summed(self, query: UserQuery, layer: int, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (C, tasks) of a layer, plus those of the layers above it."""
        logits = self._own(query, layer, level, nodes)
        if not self.ensemble or not layer:
            return logits
        if level == self.tree.depth and query.added is not None:
            nodes = query.added.placed.in_tree(nodes)
        return logits + self._carried(query, layer - 1, self.tree.ancestors(level, nodes, self.ensemble[layer - 1]))

    def _carried(self, query: UserQuery, layer: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same for nodes of the layer's own level, which may repeat: computes only those not yet scored."""
        level = self.ensemble[layer]
        known = query.carried.get(level)
        missing = np.unique(nodes if known is None else nodes[np.isnan(known[nodes, 0])])
        if known is None or len(missing):
            logits = self._summed(query, layer, level, missing)
            if known is None:
                known = np.full((self.tree.size(level), logits.shape[1]), np.nan, np.float32)
                query.carried[level] = known
            known[missing] = logits
        return known[nodes]

    def score_alone(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of distinct nodes (C,) of a level without those of the layers above: (C, tasks) float32."""
        return self._own(query, self._layer_of(level), level, nodes)

    def _layer_of(self, level: int) -> int:
        """Which of the layers scores a level."""
        if self.ensemble or len(self.layers) == 1:
            return layer_of_level(self.ensemble, level)
        return int(level == self.tree.depth)

    def _own(self, query: UserQuery, layer: int, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (C, tasks) of one layer by itself."""
        if len(nodes) <= BLOCK:
            return self._score_block(query, layer, level, nodes)
        blocks = np.array_split(nodes, -(-len(nodes) // BLOCK))
        return np.concatenate([self._score_block(query, layer, level, block) for block in blocks])

    def _score_block(self, query: UserQuery, layer: int, level: int,
                     nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        dense = self.layers[layer]
        if isinstance(dense, PairKernel):
            return _joined([_fused(query, dense, part) for part in self._parts(query, level, nodes)])
        items, interaction = self.gather(query, level, nodes)
        start = time.perf_counter()
        logits = dense(query.embedding, items, interaction)
        query.kernel_seconds += time.perf_counter() - start
        return logits

    def gather(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> tuple[Storage, NDArray[np.float32]]:
        """The item embeddings (C, Di) and interaction features (C, F) that `score` reads."""
        parts = self._parts(query, level, nodes)
        return (_joined([_rows(part.embeddings, part.rows) for part in parts]),
                _joined([_features(query, part) for part in parts]))

    def _parts(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> list[_Part]:
        """Where nodes (C,) lie, in their order: one part, or two if some are items beyond the tree."""
        if level < self.tree.depth:
            embeddings, vectors = self.embeddings[level - 1], self.spectral[level - 1:level]
            features = node_features(query.hits, self.item_keys.families, self.postings[level - 1], len(embeddings),
                                     nodes, self._slots.zeros)
            return [_Part(nodes, embeddings, vectors, np.ascontiguousarray(features[0]))]
        added = query.added
        beyond = 0 if added is None else int(np.count_nonzero(nodes >= self.tree.n_items))
        parts = []
        if added is not None and beyond:
            parts = [self._items(query, added.embeddings, added.keys, added.spectral,
                                 nodes[:beyond] - self.tree.n_items)]
        if beyond < len(nodes) or not parts:
            parts.append(self._items(query, self.embeddings[-1], self.item_keys, self.spectral[-1:], nodes[beyond:]))
        return parts

    def _items(self, query: UserQuery, embeddings: Storage, keys: ItemKeys, vectors: Sequence[SpectralVectors],
               rows: NDArray[np.int64]) -> _Part:
        features = item_features(query.hits, keys, rows, self._slots.zeros)
        return _Part(rows, embeddings, vectors, np.ascontiguousarray(features[0]))


@dataclass(frozen=True, eq=False)
class _Part:
    """Rows of arrays of nodes or items.

    Attributes:
        rows: (C,) of the arrays.
        embeddings: (N, Di).
        vectors: spectral ones of all N, one entry; none in a bundle without spectral towers.
        key_features: (C, families x values) of the rows with one user.
    """

    rows: NDArray[np.int64]
    embeddings: Storage
    vectors: Sequence[SpectralVectors]
    key_features: NDArray[np.float32]


def _features(query: UserQuery, part: _Part) -> NDArray[np.float32]:
    """The interaction features (C, F) of keys, joined by the spectral ones, if the bundle has them."""
    if query.spectral is None:
        return part.key_features
    return np.concatenate([part.key_features, query.spectral.features(part.vectors[0], part.rows)[0]], axis=1)


def _fused(query: UserQuery, kernel: PairKernel, part: _Part) -> NDArray[np.float32]:
    """Logits (C, tasks) by the compiled kernel, which reads the rows where they are, spectral vectors too."""
    start = time.perf_counter()
    logits = kernel.rows(query.embedding, part.embeddings, part.rows, part.key_features,
                         None if query.spectral is None else (query.spectral, part.vectors[0]))
    query.kernel_seconds += time.perf_counter() - start
    return logits


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays one below the other; a single one as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _rows(embeddings: Storage, nodes: NDArray[np.int64]) -> Storage:
    """Rows of nodes (C,); where these are consecutive, as in an exhaustive search, without a copy."""
    if len(nodes) and nodes[-1] - nodes[0] == len(nodes) - 1 and (nodes[1:] > nodes[:-1]).all():
        rows: Storage = embeddings[nodes[0]:nodes[-1] + 1]
        return rows
    return embeddings.take(nodes, axis=0)
