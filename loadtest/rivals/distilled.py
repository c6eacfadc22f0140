"""Distilled vectors: inner products that imitate the whole scorer, their candidates reranked by it (GRank's way).

A user's vector comes from a small network over what the scorer reads of the user, and from vectors of the keys that the
user reaches; an item's is fixed. They are trained on the scorer's exhaustive answers by `distillation`. No second model
of the log is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.features.user_keys import WEIGHT
from index_store.search.ranking import NodeScorer
from index_store.search.scoring import UserQuery
from index_store.tree.tree import Tree
from loadtest.rivals.baselines import augmented, ivf_index, nearest
from loadtest.rivals.searches import SearchRequest, rerank


@dataclass(frozen=True)
class Student:
    """What inner products are taken of.

    Attributes:
        hidden, hidden_bias: (inputs, H) and (H,) float32, of the hidden layer over a user's inputs.
        out, straight, bias: (H, D), (inputs, D) and (D,) float32: from the hidden layer and straight from the inputs to
            the user's vector.
        keys: (keys, D) float32 of the keys, added to the user's by their weight.
        vectors: (n_items, D) float32 of the items, by position.
    """

    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    out: NDArray[np.float32]
    straight: NDArray[np.float32]
    bias: NDArray[np.float32]
    keys: NDArray[np.float32]
    vectors: NDArray[np.float32]

    def query(self, query: UserQuery) -> NDArray[np.float32]:
        """The vector (D,) of a user."""
        inputs, hits = user_inputs(query), query.hits
        vector: NDArray[np.float32] = (np.maximum(inputs @ self.hidden + self.hidden_bias, 0) @ self.out
                                       + inputs @ self.straight + self.bias
                                       + hits.values[:, WEIGHT] @ self.keys.take(hits.keys, axis=0))
        return vector


def user_inputs(query: UserQuery) -> NDArray[np.float32]:
    """What a student reads of a user: (inputs,) float32. Spectral vectors come at unit length."""
    parts = [query.embedding[0]]
    if query.spectral is not None:
        for vector in (query.spectral.sums[0], query.spectral.weighted[0]):
            parts.append(vector / max(float(np.linalg.norm(vector)), 1e-12))
        parts.append(query.spectral.history)
    return np.concatenate(parts)


@dataclass(frozen=True)
class Distilled:
    """Search by distilled vectors, with reranking.

    Attributes:
        tree: of the bundle that reranks.
        student: of its scorer.
        index: FAISS index over the augmented item vectors.
        nprobe: probed cells of an inverted file; None for an exact search.
        candidates: nearest eligible ads that are reranked.
    """

    tree: Tree
    student: Student
    index: Any
    nprobe: int | None
    candidates: int
    kind: str = "distilled"
    wants_vector: bool = False

    @property
    def params(self) -> Mapping[str, Any]:
        return {"nprobe": self.nprobe or "all", "candidates": self.candidates}

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        parameters = faiss.SearchParametersIVF(nprobe=self.nprobe) if self.nprobe else None
        asked = replace(request, vector=self.student.query(request.query))
        return rerank(self.tree, request, nearest(self.index, asked, self.candidates, parameters), scorer)


def distilled_sweep(tree: Tree, student: Student, nlist: int, probes: Sequence[int],
                    candidates: Sequence[int]) -> list[Distilled]:
    """Exact searches, and an inverted file of `nlist` cells, with every number of candidates to rerank."""
    wide = augmented(student.vectors)
    flat, cells = faiss.IndexFlatL2(wide.shape[1]), ivf_index(wide, nlist)
    flat.add(wide)
    return [Distilled(tree, student, cells if nprobe else flat, nprobe, n) for nprobe in (None, *probes)
            for n in candidates]
