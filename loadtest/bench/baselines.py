"""What one would use instead of the tree: HNSW and IVF (FAISS) over two towers, their candidates ranked by the scorer.

Both answer in inner products exactly: item vectors get one more dimension that gives them all the same length, so that
the nearest by distance is the one of the largest inner product. An HNSW graph that is built on the inner product itself
finds a fraction of them, for its neighbour lists all lead to the few longest vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.search.ranking import NodeScorer
from index_store.search.scoring import UserQuery
from index_store.tree.tree import Tree
from loadtest.bench.searches import Asked, rerank

EF_CONSTRUCTION = 100
TRAINING_POINTS = 64
"""Vectors a cell that k-means of IVF is trained on at most."""


@dataclass(frozen=True)
class Hnsw:
    """HNSW over the two towers, reranked.

    Attributes:
        tree: of the bundle that ranks; positions are the ids of the index.
        index: over the augmented vectors.
        m: neighbours of a node, twice as many at the ground level.
        ef_search: nodes that the search keeps.
        candidates: nearest eligible ads that are ranked.
    """

    tree: Tree
    index: Any
    m: int
    ef_search: int
    candidates: int
    kind: str = "hnsw"
    wants_vector: bool = True

    @property
    def params(self) -> Mapping[str, Any]:
        return {"M": self.m, "efSearch": self.ef_search, "candidates": self.candidates}

    def find(self, asked: Asked, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        excluded = asked.eligible.n_items - asked.eligible.total
        search = faiss.SearchParametersHNSW(efSearch=self.ef_search)
        return rerank(self.tree, asked, nearest(self.index, asked, self.candidates + excluded, self.candidates, search),
                      scorer)


@dataclass(frozen=True)
class Ivf:
    """IVF over the two towers, reranked; attributes as those of `Hnsw`, with cells and probed cells for its own."""

    tree: Tree
    index: Any
    nlist: int
    nprobe: int
    candidates: int
    kind: str = "ivf"
    wants_vector: bool = True

    @property
    def params(self) -> Mapping[str, Any]:
        return {"nlist": self.nlist, "nprobe": self.nprobe, "candidates": self.candidates}

    def find(self, asked: Asked, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        excluded = asked.eligible.n_items - asked.eligible.total
        search = faiss.SearchParametersIVF(nprobe=self.nprobe)
        return rerank(self.tree, asked, nearest(self.index, asked, self.candidates + excluded, self.candidates, search),
                      scorer)


def nearest(index: Any, asked: Asked, wanted: int, most: int, search: Any) -> NDArray[np.int64]:
    """Positions of the nearest eligible items: at most `most` of the `wanted` that the index is asked for."""
    if asked.vector is None:
        raise TypeError("a search over two towers was asked without their query vector")
    query = np.append(asked.vector, np.float32(0))[None]
    _, found = index.search(query, min(wanted, index.ntotal), params=search)
    positions: NDArray[np.int64] = found[0][found[0] >= 0]
    return positions[asked.eligible.contains(positions)][:most]


def augmented(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (N, D) with one more dimension (N, D + 1) that makes them all as long as the longest."""
    squared = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    rest = np.sqrt(squared.max() - squared).astype(np.float32)
    return np.concatenate([vectors, rest[:, None]], axis=1)


def hnsw_index(vectors: NDArray[np.float32], m: int) -> Any:
    """An HNSW graph over vectors (N, D) by Euclidean distance."""
    index = faiss.IndexHNSWFlat(vectors.shape[1], m)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(vectors)
    return index


def ivf_index(vectors: NDArray[np.float32], nlist: int) -> Any:
    """An inverted file over vectors (N, D) by Euclidean distance."""
    index = faiss.index_factory(vectors.shape[1], f"IVF{nlist},Flat")
    index.cp.max_points_per_centroid = TRAINING_POINTS
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    return index


def hnsw_sweep(tree: Tree, vectors: NDArray[np.float32], ms: Sequence[int], efs: Sequence[int],
               shares: Sequence[float]) -> list[Hnsw]:
    """All combinations.

    Args:
        tree: of the bundle that ranks.
        vectors: (n_items, D) of the item tower, by position.
        ms, efs: values of M and efSearch.
        shares: candidates to rank, as shares of efSearch.
    """
    wide = augmented(vectors)
    indexes = [(m, hnsw_index(wide, m)) for m in ms]
    return [Hnsw(tree, index, m, ef, max(1, round(share * ef))) for m, index in indexes for ef in efs
            for share in shares]


def ivf_sweep(tree: Tree, vectors: NDArray[np.float32], nlist: int, probes: Sequence[int],
              candidates: Sequence[int]) -> list[Ivf]:
    """All combinations; arguments as those of `hnsw_sweep`, `nlist` cells and numbers of probed ones."""
    index = ivf_index(augmented(vectors), nlist)
    return [Ivf(tree, index, nlist, nprobe, n) for nprobe in probes for n in candidates]
