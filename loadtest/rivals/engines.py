"""Engines that people run for vectors, usearch, voyager and ScaNN, over distilled vectors; candidates are reranked.

usearch and voyager are HNSW graphs, here by Euclidean distance over augmented vectors as FAISS's; ScaNN is an inverted
file of quantised vectors for inner products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.search.ranking import NodeScorer
from index_store.search.scoring import UserQuery
from index_store.tree.tree import Tree
from loadtest.rivals.baselines import EF_CONSTRUCTION, TRAINING_POINTS, augmented
from loadtest.rivals.distilled import Student
from loadtest.rivals.searches import SearchRequest, rerank

Nearest = Callable[[NDArray[np.float32], int], NDArray[np.integer]]
"""Of a query vector (D,) and a number, so many ids or fewer, the nearest first."""

M = 16
"""Neighbours per node of the graphs."""

DIMENSIONS_PER_BLOCK, THRESHOLD = 2, 0.2
"""ScaNN's product quantisation, and the share of a vector's length from which errors along it weigh more, both as its
documentation advises."""


@dataclass(frozen=True)
class Engine:
    """Search by an engine's index over distilled vectors, with reranking.

    Attributes:
        tree: of the bundle that reranks.
        student: of its scorer.
        nearest: asks the engine.
        kind: the engine's name.
        params: its settings by name.
        candidates: nearest eligible ads that are reranked.
    """

    tree: Tree
    student: Student
    nearest: Nearest
    kind: str
    params: Mapping[str, Any]
    candidates: int
    wants_vector: bool = False

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first; the engine returns enough to make up for ineligible ones."""
        ineligible = request.eligible.n_items - request.eligible.total
        found = self.nearest(self.student.query(request.query), min(self.candidates + ineligible, self.tree.n_items))
        positions = np.asarray(found, np.int64)
        return rerank(self.tree, request, positions[request.eligible.contains(positions)][:self.candidates], scorer)


def usearch(vectors: NDArray[np.float32], efs: Sequence[int]) -> Iterator[tuple[Mapping[str, Any], int, Nearest]]:
    """Usearch's graph over vectors (N, D): settings, most results and searches for each width of the search."""
    wide = augmented(vectors)
    index = import_module("usearch.index").Index(ndim=wide.shape[1], metric="l2sq", dtype="f32", connectivity=M,
                                                 expansion_add=EF_CONSTRUCTION)
    index.add(np.arange(len(wide)), wide, threads=1)

    def of(ef: int) -> Nearest:
        def nearest(vector: NDArray[np.float32], count: int) -> NDArray[np.integer]:
            index.expansion_search = max(ef, count)
            found: NDArray[np.integer] = index.search(np.append(vector, np.float32(0)), count, threads=1).keys
            return found

        return nearest

    yield from (({"M": M, "efSearch": ef}, ef, of(ef)) for ef in efs)


def voyager(vectors: NDArray[np.float32], efs: Sequence[int]) -> Iterator[tuple[Mapping[str, Any], int, Nearest]]:
    """Voyager's graph; arguments and result as for `usearch`."""
    wide, module = augmented(vectors), import_module("voyager")
    index = module.Index(module.Space.Euclidean, num_dimensions=wide.shape[1], M=M, ef_construction=EF_CONSTRUCTION)
    index.add_items(wide, num_threads=1)

    def of(ef: int) -> Nearest:
        def nearest(vector: NDArray[np.float32], count: int) -> NDArray[np.integer]:
            found, _ = index.query(np.append(vector, np.float32(0)), k=count, num_threads=1, query_ef=max(ef, count))
            return np.asarray(found, np.int64)

        return nearest

    yield from (({"M": M, "efSearch": ef}, ef, of(ef)) for ef in efs)


def scann(vectors: NDArray[np.float32], nlist: int, probes: Sequence[int]
          ) -> Iterator[tuple[Mapping[str, Any], int, Nearest]]:
    """ScaNN's cells over vectors (N, D): settings, most results and searches for each number of probed cells."""
    builder = import_module("scann").scann_ops_pybind.builder(vectors, 10, "dot_product")
    index = (builder.tree(num_leaves=nlist, num_leaves_to_search=nlist,
                          training_sample_size=min(len(vectors), TRAINING_POINTS * nlist))
             .score_ah(DIMENSIONS_PER_BLOCK, anisotropic_quantization_threshold=THRESHOLD)
             .reorder(len(vectors)).set_n_training_threads(1).build())

    def of(nprobe: int) -> Nearest:
        def nearest(vector: NDArray[np.float32], count: int) -> NDArray[np.integer]:
            found, _ = index.search(vector, final_num_neighbors=count, pre_reorder_num_neighbors=count,
                                    leaves_to_search=nprobe)
            return np.asarray(found, np.int64)

        return nearest

    yield from (({"nlist": nlist, "nprobe": nprobe}, len(vectors), of(nprobe)) for nprobe in probes)


def engine_sweep(tree: Tree, student: Student, efs: Sequence[int], nlist: int, probes: Sequence[int],
                 candidates: Sequence[int]) -> list[Engine]:
    """Every engine with every combination of settings.

    Args:
        tree, student: of the bundle that reranks.
        efs: widths of the graphs' searches, whose results are all reranked.
        nlist, probes: cells of ScaNN, and how many are probed.
        candidates: of ScaNN.
    """
    graphs = [Engine(tree, student, nearest, kind, params, most)
              for kind, made in (("usearch", usearch), ("voyager", voyager))
              for params, most, nearest in made(student.vectors, efs)]
    return [*graphs, *(Engine(tree, student, nearest, "scann", {**params, "candidates": n}, n)
                       for params, _, nearest in scann(student.vectors, nlist, probes) for n in candidates)]
