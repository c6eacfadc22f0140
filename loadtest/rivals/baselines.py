"""Baselines: HNSW and IVF (FAISS) over the vectors of two towers, their candidates reranked by the scorer.

The reduction from inner products to distances is exact: item vectors get one more dimension that gives them all the
same length, so the nearest vector has the largest inner product. An HNSW graph built on the inner product itself finds
only a fraction of them, because its neighbour lists all lead to the few longest vectors.
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
from loadtest.rivals.searches import SearchRequest, rerank

EF_CONSTRUCTION = 100
TRAINING_POINTS = 64
"""Most vectors per cell that k-means of IVF is trained on."""


@dataclass(frozen=True)
class Hnsw:
    """HNSW over the two towers, with reranking.

    Attributes:
        tree: of the bundle that reranks; positions are the ids of the index.
        index: FAISS index over the augmented vectors.
        m: neighbours per node, twice as many at the ground level.
        ef_search: nodes that the search keeps.
        candidates: nearest eligible ads that are reranked.
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

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        positions = nearest(self.index, request, self.candidates, faiss.SearchParametersHNSW(efSearch=self.ef_search))
        return rerank(self.tree, request, positions, scorer)


@dataclass(frozen=True)
class Ivf:
    """IVF over the two towers, with reranking.

    Attributes:
        tree, index, candidates: as those of `Hnsw`.
        nlist, nprobe: number of cells, and of probed cells.
    """

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

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        positions = nearest(self.index, request, self.candidates, faiss.SearchParametersIVF(nprobe=self.nprobe))
        return rerank(self.tree, request, positions, scorer)


def nearest(index: Any, request: SearchRequest, most: int, parameters: Any) -> NDArray[np.int64]:
    """Positions of the nearest eligible items, at most `most`; the index returns enough to make up for ineligible ones.

    Raises:
        TypeError: the request has no query vector of the two towers.
    """
    if request.vector is None:
        raise TypeError("the request has no vector; a search over two towers needs their query vector")
    ineligible = request.eligible.n_items - request.eligible.total
    query = np.append(request.vector, np.float32(0))[None]
    _, found = index.search(query, min(most + ineligible, index.ntotal), params=parameters)
    positions: NDArray[np.int64] = found[0][found[0] >= 0]
    return positions[request.eligible.contains(positions)][:most]


def augmented(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (N, D) extended by one dimension, (N, D + 1), so that all are as long as the longest."""
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
    """HNSW with every combination of settings.

    Args:
        tree: of the bundle that reranks.
        vectors: (n_items, D) of the item tower, by position.
        ms, efs: values of M and efSearch.
        shares: candidates to rerank, as shares of efSearch.
    """
    wide = augmented(vectors)
    indexes = [(m, hnsw_index(wide, m)) for m in ms]
    return [Hnsw(tree, index, m, ef, max(1, round(share * ef))) for m, index in indexes for ef in efs
            for share in shares]


def ivf_sweep(tree: Tree, vectors: NDArray[np.float32], nlist: int, probes: Sequence[int],
              candidates: Sequence[int]) -> list[Ivf]:
    """IVF of `nlist` cells with every combination of probed cells and candidates; the rest as in `hnsw_sweep`."""
    index = ivf_index(augmented(vectors), nlist)
    return [Ivf(tree, index, nlist, nprobe, n) for nprobe in probes for n in candidates]
