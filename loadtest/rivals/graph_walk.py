"""Graph walk: an HNSW graph searched by the scorer instead of a distance, the idea of NANN.

The graph is built over the bundle's own item embeddings. The walk keeps the `ef` best nodes scored so far; each round
scores, in one call, all new neighbours of the best nodes that were not expanded yet, until none is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.search.ranking import NodeScorer, best
from index_store.search.scoring import UserQuery
from index_store.tree.tree import Tree
from loadtest.rivals.baselines import hnsw_index
from loadtest.rivals.searches import SearchRequest, ranked

MOST_ENTRIES = 256
"""Most entry points: the medoids of the finest tree level that has no more nodes than this."""


@dataclass(frozen=True)
class GraphWalk:
    """A walk with its settings.

    Attributes:
        tree: of the bundle.
        neighbours: (n_items, 2 m) int32 positions, the ground level of the graph; -1 where a list is short.
        m: neighbours per node in the levels above.
        entries: positions that are scored first.
        ef: nodes kept.
        batch: most nodes expanded in one round, the best of those kept.
    """

    tree: Tree
    neighbours: NDArray[np.int32]
    m: int
    entries: NDArray[np.int64]
    ef: int
    batch: int
    kind: str = "graph"
    wants_vector: bool = False

    @property
    def params(self) -> Mapping[str, Any]:
        return {"M": self.m, "ef": self.ef, "batch": self.batch}

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first; ineligible ads are walked but not returned."""
        visited = np.zeros(self.tree.n_items, bool)
        fresh, seen, gained = self.entries, [], []
        kept = np.empty(0, np.int64)
        scores, open_ = np.empty(0, np.float32), np.empty(0, bool)
        while len(fresh):
            visited[fresh] = True
            found = scorer.score(request.query, self.tree.depth, fresh) @ request.weights
            seen.append(fresh)
            gained.append(found)
            kept, scores, open_ = (np.concatenate(pair) for pair in (
                (kept, fresh), (scores, found), (open_, np.ones(len(fresh), bool))))
            top = best(scores, kept, self.ef)
            kept, scores, open_ = kept[top], scores[top], open_[top]
            fresh = np.empty(0, np.int64)
            while not len(fresh) and open_.any():
                waiting = np.flatnonzero(open_)
                expanded = waiting[best(scores[waiting], kept[waiting], self.batch)]
                open_[expanded] = False
                fresh = self._unvisited(kept[expanded], visited)
        positions = np.concatenate(seen)
        allowed = request.eligible.contains(positions)
        return ranked(self.tree, positions[allowed], np.concatenate(gained)[allowed])

    def _unvisited(self, nodes: NDArray[np.int64], visited: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Distinct neighbours of the nodes that were not scored yet, in ascending order."""
        near = self.neighbours.take(nodes, axis=0).ravel()
        near = near[near >= 0]
        return np.unique(near[~visited.take(near)]).astype(np.int64)


def graph_sweep(tree: Tree, vectors: NDArray[np.float32], ms: Sequence[int], efs: Sequence[int],
                shares: Sequence[float]) -> list[GraphWalk]:
    """Walks with every combination of settings.

    Args:
        tree: of the bundle.
        vectors: (n_items, D) embeddings, by position.
        ms, efs: values of M and ef.
        shares: nodes expanded in a round, as shares of ef.
    """
    entries = _entries(tree)
    graphs = [(m, ground_level(hnsw_index(vectors, m))) for m in ms]
    return [GraphWalk(tree, graph, m, entries, ef, max(1, round(share * ef))) for m, graph in graphs for ef in efs
            for share in shares]


def ground_level(index: Any) -> NDArray[np.int32]:
    """Neighbour lists (n_items, 2 M) int32 of all nodes of an HNSW index, -1 where a list is short."""
    hnsw = index.hnsw
    starts = faiss.vector_to_array(hnsw.offsets)[:-1].astype(np.int64)
    width = hnsw.nb_neighbors(0)
    lists: NDArray[np.int32] = faiss.vector_to_array(hnsw.neighbors)[starts[:, None] + np.arange(width)]
    return lists


def _entries(tree: Tree) -> NDArray[np.int64]:
    small = [medoids for medoids in tree.representatives if len(medoids) <= MOST_ENTRIES]
    if small:
        return np.unique(small[-1]).astype(np.int64)
    spread = tree.representatives[0] if tree.representatives else np.arange(tree.n_items)
    return np.unique(spread[:: -(-len(spread) // MOST_ENTRIES)]).astype(np.int64)
