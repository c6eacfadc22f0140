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

from index_store.deadline import Deadline
from index_store.eligibility import Eligible
from index_store.search_log import LevelTrace, SearchLog, Step
from index_store.tree import Tree

Query = TypeVar("Query", contravariant=True)

MOST_WIDENED = 2.0
"""Where targeting leaves half of the items or less, the beam is this much wider; see decision 5."""

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


def widening(tree: Tree, eligible: Eligible | None) -> float:
    """Factor of the beam under targeting: a node holds fewer eligible items, so more nodes are worth their pairs."""
    return min(MOST_WIDENED, tree.n_items / eligible.total) if eligible is not None and eligible.total else 1.0


@dataclass(frozen=True)
class BeamSearch(Generic[Query]):
    """Walks from the root to the items and keeps `beam_width` nodes a level (Section 4.6).

    A level whose candidates fit into the beam is not scored, nodes without an eligible item never are. The beam widens,
    in order of score, until the kept nodes hold top_k eligible items, so a result holds min(top_k, eligible) items.
    Where scoring all eligible items takes no more pairs than so wide a beam without targeting, it is done directly:
    what is left of their nodes tells little of them, and the cost is bounded all the same.
    """

    tree: Tree
    scorer: NodeScorer[Query]

    def search(self, query: Query, *, top_k: int, beam_width: int | Sequence[int], task_weights: NDArray[np.float32],
               eligible: Eligible | None = None, deadline: Deadline | None = None,
               trace: bool = False) -> SearchResult:
        """Finds the best items.

        Args:
            query: what the scorer understands.
            top_k: most items to return, >= 1.
            beam_width: nodes to keep at each level above the items, >= 1; or one number a level.
            task_weights: (tasks,) float32 weights of the task logits in the score.
            eligible: items that may be returned; None for all.
            deadline: when it comes near the beam narrows, to one node a level at worst; the result may then hold less
                than min(top_k, eligible) items.
            trace: whether to keep the choices for explanations.

        Raises:
            ValueError: beam_width names another number of levels than the tree has above the items.
        """
        tree = self.tree
        inner = tree.depth - 1
        widths = [float(beam_width)] * inner if isinstance(beam_width, int) else [float(w) for w in beam_width]
        if len(widths) != inner:
            raise ValueError(f"beam_width names {len(widths)} levels, the tree has {inner} above the items")
        log = SearchLog(trace)
        density = eligible.total / tree.n_items if eligible is not None else 1.0
        wider = widening(tree, eligible)
        widths = [width * wider for width in widths]
        if eligible is not None:
            levels = (*self.scorer.ensemble, tree.depth)
            plan = {level: float(min(eligible.total, tree.size(level))) for level in levels}
            direct = sum(plan.values())
            if direct <= top_k + sum(self._pairs_below(0, widths, 1.0).values()):
                if deadline is None or direct <= LEAST_BLOCK or deadline.pace.seconds(plan) <= deadline.left():
                    return _rank_directly(tree, self.scorer, query, eligible.positions(), top_k, task_weights,
                                          deadline, log)
                log.planned = direct
        nodes, narrowed = np.arange(tree.size(1)), False
        for level in range(1, tree.depth):
            start = time.perf_counter()
            counts = None
            if eligible is not None:
                counts = eligible.counts(*tree.bounds(level, nodes))
                if not counts.all():
                    some = counts > 0
                    nodes, counts = nodes[some], counts[some]
            candidates, scored = len(nodes), 0
            if candidates > widths[level - 1] or level in self.scorer.ensemble:
                scores = self.scorer.score(query, level, nodes) @ task_weights
                scored = candidates
                width = int(widths[level - 1])
                kept = best(scores, nodes, width)
                below = int((tree.items_below(level, nodes.take(kept)) if counts is None else counts.take(kept)).sum())
                if deadline is not None and self._narrow(level, nodes[kept], below, density, widths, deadline, log,
                                                         scored):
                    width, narrowed = int(widths[level - 1]), True
                    kept = best(scores, nodes, width)
                if not narrowed and below < top_k:
                    by_score = np.lexsort((nodes, -scores))
                    held = tree.items_below(level, nodes) if counts is None else counts
                    enough = int(np.searchsorted(np.cumsum(held[by_score]), top_k)) + 1
                    kept = by_score[:max(width, enough)]
                log.step(level, nodes, scores, kept)
                if deadline is None:
                    kept.sort()  # neighbours in memory
                else:  # the most promising first, in case that the items are cut short
                    kept = kept[np.argsort(-scores.take(kept), kind="stable")]
                nodes = nodes[kept]
            nodes = tree.children(level, nodes)
            log.levels.append(LevelTrace(level, candidates, scored, time.perf_counter() - start))
        if eligible is not None:
            nodes = nodes[eligible.contains(nodes)]
        total = tree.n_items if eligible is None else eligible.total
        return _rank_items(tree, self.scorer, query, nodes, top_k, task_weights, total, deadline, log)

    def _pairs_below(self, level: int, widths: Sequence[float], density: float) -> dict[int, float]:
        """Pairs of each level below `level` if nodes are of mean size: the plan of a search before it starts.

        `density` is the share of the items that is eligible.
        """
        tree, pairs = self.tree, dict[int, float]()
        for below in range(level + 1, tree.depth + 1):
            candidates = float(tree.size(below))
            if below > 1:
                candidates = min(candidates, widths[below - 2] * candidates / tree.size(below - 1))
            if below == tree.depth:
                pairs[below] = candidates * density
            elif candidates > widths[below - 1] or below in self.scorer.ensemble:
                pairs[below] = candidates
        return pairs

    def _narrow(self, level: int, kept: NDArray[np.int64], eligible: int, density: float, widths: list[float],
                deadline: Deadline, log: SearchLog, scored: int) -> bool:
        """Narrows `widths` from `level` on if the pairs below the kept nodes do not fit before the deadline.

        Args:
            eligible: items below the kept nodes that may be returned.
        """
        tree = self.tree
        children = float(tree.child_counts(level, kept).sum())
        # The kept nodes tend to be large ones; what holds for their children is taken to hold further down.
        skew = children * tree.size(level) / (len(kept) * tree.size(level + 1))
        plan = {level + 1: min(children, eligible)}
        plan |= {below: skew * pairs for below, pairs in self._pairs_below(level + 1, widths, density).items()}
        share = deadline.left() / deadline.pace.seconds(plan)
        if share >= 1.0:
            return False
        log.planned = log.planned or log.pairs + scored + sum(plan.values())
        for at in range(level - 1, len(widths)):
            widths[at] = max(1.0, widths[at] * share)
        return True


@dataclass(frozen=True)
class ExhaustiveSearch(Generic[Query]):
    """Scores every eligible item."""

    tree: Tree
    scorer: NodeScorer[Query]

    def search(self, query: Query, *, top_k: int, task_weights: NDArray[np.float32], eligible: Eligible | None = None,
               deadline: Deadline | None = None, trace: bool = False) -> SearchResult:
        """Finds the best items; the arguments are those of `BeamSearch.search`."""
        positions = np.arange(self.tree.n_items) if eligible is None else eligible.positions()
        return _rank_directly(self.tree, self.scorer, query, positions, top_k, task_weights, deadline, SearchLog(trace))


def _rank_directly(tree: Tree, scorer: NodeScorer[Query], query: Query, positions: NDArray[np.int64], top_k: int,
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
    return _rank_items(tree, scorer, query, positions, top_k, task_weights, eligible, deadline, log)


def _direct_plans(tree: Tree, ensemble: Sequence[int], positions: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Pairs at each level that the first of ascending positions (N,) takes, the first two and so on: (N,) a level."""
    plans = {tree.depth: np.arange(1, len(positions) + 1)}
    for level in ensemble:
        nodes = tree.ancestors(tree.depth, positions, level)
        plans[level] = np.cumsum(np.diff(nodes, prepend=-1) > 0)
    return plans


def _rank_items(tree: Tree, scorer: NodeScorer[Query], query: Query, positions: NDArray[np.int64], top_k: int,
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
