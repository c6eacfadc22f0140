"""Beam search and exhaustive search over the tree, under one scorer interface.

The search asks the scorer once a level for all candidates of that level; it knows nothing of models, features or HTTP.
Exhaustive search is the truth that every recall figure refers to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from index_store.tree import Tree

Query = TypeVar("Query", contravariant=True)


class NodeScorer(Protocol[Query]):
    """Scores nodes for a query. It returns a logit for each task; the search combines them."""

    def score(self, query: Query, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of nodes (C,) of a level: (C, tasks) float32."""
        ...


@dataclass(frozen=True)
class LevelTrace:
    """What the search did at one level. `scored` is 0 where all candidates fit into the beam. Seconds include both."""

    level: int
    candidates: int
    scored: int
    seconds: float


@dataclass(frozen=True)
class SearchResult:
    """The best items of a query, best first; equal scores are ordered by item row, that is by ad id.

    Attributes:
        rows: (K,) int64 item rows.
        scores: (K,) float32, sum over tasks of weight x logit.
        logits: (K, tasks) float32.
        levels: one trace a level.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    levels: tuple[LevelTrace, ...]

    @property
    def pairs_scored(self) -> int:
        return sum(level.scored for level in self.levels)


@dataclass(frozen=True)
class BeamSearch(Generic[Query]):
    """Walks from the root to the items and keeps `beam_width` nodes a level (Section 4.6).

    A level whose candidates fit into the beam is not scored. The beam widens, in order of score, until the kept nodes
    hold top_k items that are not excluded; nodes whose items are all excluded are never scored. So a result holds
    min(top_k, items not excluded) items.
    """

    tree: Tree
    scorer: NodeScorer[Query]

    def search(self, query: Query, *, top_k: int, beam_width: int | Sequence[int], task_weights: NDArray[np.float32],
               excluded: NDArray[np.integer] | None = None) -> SearchResult:
        """Finds the best items.

        Args:
            query: what the scorer understands.
            top_k: most items to return, >= 1.
            beam_width: nodes to keep at each level above the items, >= 1; or one number a level.
            task_weights: (tasks,) float32 weights of the task logits in the score.
            excluded: item rows that must not be returned.

        Raises:
            ValueError: beam_width names another number of levels than the tree has above the items.
        """
        inner = self.tree.depth - 1
        widths = [beam_width] * inner if isinstance(beam_width, int) else list(beam_width)
        if len(widths) != inner:
            raise ValueError(f"beam_width names {len(widths)} levels, the tree has {inner} above the items")
        gone = np.unique(self.tree.position_of_row[excluded]) if excluded is not None and len(excluded) else None
        nodes = np.arange(self.tree.size(1))
        traces = []
        for level, width in enumerate(widths, start=1):
            start = time.perf_counter()
            counts = self._eligible(level, nodes, gone)
            if gone is not None:
                nodes, counts = nodes[counts > 0], counts[counts > 0]
            candidates, scored = len(nodes), 0
            if candidates > width:
                scores = self.scorer.score(query, level, nodes) @ task_weights
                kept = best(scores, nodes, width)
                if counts[kept].sum() < top_k:
                    by_score = np.lexsort((nodes, -scores))
                    enough = int(np.searchsorted(np.cumsum(counts[by_score]), top_k)) + 1
                    kept = by_score[:max(width, enough)]
                nodes, scored = nodes[np.sort(kept)], candidates
            nodes = self.tree.children(level, nodes)
            traces.append(LevelTrace(level, candidates, scored, time.perf_counter() - start))
        return _rank_items(self.tree, self.scorer, query, nodes, top_k, task_weights, gone, traces)

    def _eligible(self, level: int, nodes: NDArray[np.int64], gone: NDArray[np.integer] | None) -> NDArray[np.int64]:
        """Number of items below each node that are not excluded."""
        first, end = self.tree.bounds(level, nodes)
        counts = (end - first).astype(np.int64)
        if gone is not None:
            counts -= np.searchsorted(gone, end) - np.searchsorted(gone, first)
        return counts


@dataclass(frozen=True)
class ExhaustiveSearch(Generic[Query]):
    """Scores every item."""

    tree: Tree
    scorer: NodeScorer[Query]

    def search(self, query: Query, *, top_k: int, task_weights: NDArray[np.float32],
               excluded: NDArray[np.integer] | None = None) -> SearchResult:
        """Finds the best items; the arguments are those of `BeamSearch.search`."""
        gone = np.unique(self.tree.position_of_row[excluded]) if excluded is not None and len(excluded) else None
        return _rank_items(self.tree, self.scorer, query, np.arange(self.tree.n_items), top_k, task_weights, gone, [])


def _rank_items(tree: Tree, scorer: NodeScorer[Query], query: Query, positions: NDArray[np.int64], top_k: int,
                task_weights: NDArray[np.float32], gone: NDArray[np.integer] | None,
                traces: list[LevelTrace]) -> SearchResult:
    start = time.perf_counter()
    if gone is not None:
        positions = positions[~_contains(gone, positions)]
    nothing = np.empty((0, len(task_weights)), np.float32)
    logits = scorer.score(query, tree.depth, positions) if len(positions) else nothing
    scores = logits @ task_weights
    rows = tree.rows[positions].astype(np.int64)
    kept = best(scores, rows, top_k)
    kept = kept[np.lexsort((rows[kept], -scores[kept]))]
    traces.append(LevelTrace(tree.depth, len(positions), len(positions), time.perf_counter() - start))
    return SearchResult(rows[kept], scores[kept], logits[kept], tuple(traces))


def best(scores: NDArray[np.float32], tie_break: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Indices of the k largest scores, in no order; among equal scores those of the smallest `tie_break` win."""
    n = len(scores)
    if n <= k:
        return np.arange(n)
    threshold = np.partition(scores, n - k)[n - k]
    above = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold)
    need = k - len(above)
    if len(equal) > need:
        equal = equal[np.argsort(tie_break[equal])[:need]]
    return np.concatenate([above, equal])


def _contains(sorted_values: NDArray[np.integer], values: NDArray[np.integer]) -> NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return np.asarray(sorted_values[at] == values)
