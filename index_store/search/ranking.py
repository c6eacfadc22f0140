"""Scoring items and taking the best, the last step of every search; and the interface of scorers and results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from index_store.search.deadline import Deadline
from index_store.search.trace import LevelTrace, SearchLog, Step
from index_store.tree.tree import Tree

Query = TypeVar("Query", contravariant=True)

BLOCK = 1 << 15
"""Most pairs of one scorer call of an exhaustive search: bounds its memory, and how late a deadline is noticed."""

LEAST_BLOCK = 256
"""Items that are scored however late it is, and the least that is worth another call before a deadline."""


class NodeScorer(Protocol[Query]):
    """Scores nodes for a query. It returns a logit for each task; the search combines them.

    Attributes:
        ensemble: levels above the items whose logits are part of those of the items below (Section 4.6); nodes there
            are scored whether or not the beam needs it.
    """

    @property
    def ensemble(self) -> tuple[int, ...]: ...

    def score(self, query: Query, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of distinct nodes (C,) of a level: (C, tasks) float32."""
        ...


@dataclass(frozen=True)
class SearchResult:
    """The best items of a query, best first; equal scores are ordered by item row, that is by ad id.

    Attributes:
        rows: (K,) int64 item rows.
        scores: (K,) float32, sum over tasks of weight x logit.
        logits: (K, tasks) float32.
        levels: one trace a level that was visited.
        eligible: items that might have been returned.
        coverage: scored pairs / planned pairs; below 1 only where a deadline narrowed the search.
        steps: the choices, if they were asked for.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    levels: tuple[LevelTrace, ...]
    eligible: int
    coverage: float = 1.0
    steps: tuple[Step, ...] = ()

    @property
    def pairs_scored(self) -> int:
        return sum(level.scored for level in self.levels)

    @property
    def narrowed(self) -> bool:
        """Whether a deadline cut the search short."""
        return self.coverage < 1.0

    def overlap(self, truth: SearchResult) -> float:
        """Share of another result's items that this one has too; 1 where it has none."""
        return float(np.isin(truth.rows, self.rows).mean()) if len(truth.rows) else 1.0


def rank_directly(tree: Tree, scorer: NodeScorer[Query], query: Query, positions: NDArray[np.int64], top_k: int,
                   task_weights: NDArray[np.float32], deadline: Deadline | None, log: SearchLog) -> SearchResult:
    """Ranks all eligible items, of ascending positions; a deadline leaves as many from the first as fit before it.

    Of the nodes above only those are scored that these items' own logits are made of.
    """
    eligible = len(positions)
    if deadline is not None and scorer.ensemble and eligible:
        plans = _direct_plans(tree, scorer.ensemble, positions)
        seconds = sum(pairs * deadline.pace.seconds_per_pair(level) for level, pairs in plans.items())
        fit = max(LEAST_BLOCK, int(np.searchsorted(seconds, deadline.left(), side="right")))
        if fit < eligible:
            log.planned = float(sum(pairs[-1] for pairs in plans.values()))
            positions = positions[:fit]
    for level in scorer.ensemble if len(positions) else ():
        start = time.perf_counter()
        nodes = np.unique(tree.ancestors(tree.depth, positions, level))
        scores = scorer.score(query, level, nodes) @ task_weights
        log.step(level, nodes, scores, np.arange(len(nodes)))
        log.levels.append(LevelTrace(level, len(nodes), len(nodes), time.perf_counter() - start))
    return rank_items(tree, scorer, query, positions, top_k, task_weights, eligible, deadline, log)


def _direct_plans(tree: Tree, ensemble: Sequence[int], positions: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Pairs at each level that the first of ascending positions (N,) takes, the first two and so on: (N,) a level."""
    plans = {tree.depth: np.arange(1, len(positions) + 1)}
    for level in ensemble:
        nodes = tree.ancestors(tree.depth, positions, level)
        plans[level] = np.cumsum(np.diff(nodes, prepend=-1) > 0)
    return plans


def rank_items(tree: Tree, scorer: NodeScorer[Query], query: Query, positions: NDArray[np.int64], top_k: int,
                task_weights: NDArray[np.float32], eligible: int, deadline: Deadline | None,
                log: SearchLog) -> SearchResult:
    """Scores the items at the given positions and takes the best, as the last level of every search."""
    start = time.perf_counter()
    candidates = len(positions)
    logits = _score_items(tree, scorer, query, positions, len(task_weights), deadline)
    if len(logits) < candidates:
        log.planned = log.planned or log.pairs + float(candidates)
        positions = positions[:len(logits)]
    scores = logits @ task_weights
    kept = best(scores, positions, top_k, tree.rows)
    rows = tree.rows.take(positions.take(kept)).astype(np.int64)
    order = np.lexsort((rows, -scores.take(kept)))
    kept, rows = kept.take(order), rows.take(order)
    log.step(tree.depth, positions, scores, kept)
    log.levels.append(LevelTrace(tree.depth, candidates, len(positions), time.perf_counter() - start))
    return SearchResult(rows, scores.take(kept), logits.take(kept, axis=0), tuple(log.levels), eligible, log.coverage,
                        tuple(log.steps))


def _score_items(tree: Tree, scorer: NodeScorer[Query], query: Query, positions: NDArray[np.int64], tasks: int,
                 deadline: Deadline | None) -> NDArray[np.float32]:
    """Task logits of the positions, or of as many from the first as fit before the deadline, yet at least of some."""
    if not len(positions):
        return np.empty((0, tasks), np.float32)
    if deadline is None and len(positions) <= BLOCK:
        return scorer.score(query, tree.depth, positions)
    parts, done = [], 0
    while done < len(positions):
        fits = BLOCK
        if deadline is not None:
            fits = int(min(BLOCK, deadline.left() / deadline.pace.seconds_per_pair(tree.depth)))
        if done and fits < LEAST_BLOCK:
            break
        block = positions[done:done + max(fits, LEAST_BLOCK)]
        parts.append(scorer.score(query, tree.depth, block))
        done += len(block)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def best(scores: NDArray[np.float32], nodes: NDArray[np.int64], k: int,
         row_of: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
    """Indices of the k largest scores (C,), in no order.

    Among equal scores those of the smallest `nodes` (C,) win, or of the smallest `row_of[nodes]`.
    """
    n = len(scores)
    if n <= k:
        return np.arange(n)
    if k <= 0:
        return np.empty(0, np.int64)
    threshold = np.partition(scores, n - k)[n - k]
    found: NDArray[np.int64] = (scores >= threshold).nonzero()[0]
    if len(found) == k:
        return found
    if len(found) < k:  # scores that are no numbers, which sort as the largest
        return best(np.where(np.isnan(scores), np.float32(-np.inf), scores), nodes, k, row_of)
    equal = found[scores[found] == threshold]
    names = nodes[equal] if row_of is None else row_of[nodes[equal]]
    spare = equal[np.argsort(names)[k - len(found):]]
    return np.setdiff1d(found, spare, assume_unique=True)
