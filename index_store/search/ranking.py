"""What beam and exhaustive search share: the scorer interface, the state of a search, results, and selection."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from index_store.search.caps import Caps
from index_store.search.deadline import Deadline
from index_store.search.newcomers import Newcomers, Pool
from index_store.search.trace import CutBy, LevelTrace, SearchLog, Step
from index_store.targeting.eligibility import Eligible
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree
from index_store.value.valuation import Valuation, ecpm_of

Query = TypeVar("Query", contravariant=True)

BLOCK = 1 << 15
"""Most pairs in one scorer call of an exhaustive search: bounds memory, and how late a deadline is noticed."""

LEAST_BLOCK = 256
"""Items scored however late it is, and the fewest worth another call before a deadline."""


_LOOKED_AT = 4
"""Times as many items as are asked for are looked at first under caps, and then as many times again."""


class NodeScorer(Protocol[Query]):
    """Scores nodes for a query. It returns one logit per task; the search combines them.

    Attributes:
        ensemble: levels above the items whose logits are part of the logits of the items below (Section 4.6); their
            nodes are scored even where the beam has no need of it.
    """

    @property
    def ensemble(self) -> tuple[int, ...]: ...

    def score(self, query: Query, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of distinct nodes (C,) of a level: (C, tasks) float32.

        NaN for an item that cannot be scored, since whoever holds it is gone or late: it is left out.
        """
        ...


@dataclass(frozen=True)
class SearchResult:
    """The best items of a query, best first; ties are ordered by item row, that is by ad id.

    Attributes:
        rows: (K,) int64 item rows; that of an item beyond the tree is its position.
        scores: (K,) float32, sum over tasks of weight x logit.
        logits: (K, tasks) float32.
        ecpm: (K,) float64 micros, if they are ranked by it.
        levels: one trace per level visited.
        eligible: number of eligible items.
        coverage: scored pairs / planned pairs; below 1 only if something cut the search short.
        cut_by: what did.
        steps: the choice made at each scored level, if the search was traced.
        pool: items with few impressions that were scored and are not among the best, if they were asked for.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    levels: tuple[LevelTrace, ...]
    eligible: int
    coverage: float = 1.0
    steps: tuple[Step, ...] = ()
    ecpm: NDArray[np.float64] | None = None
    pool: Pool | None = None
    cut_by: tuple[CutBy, ...] = ()

    @property
    def pairs_scored(self) -> int:
        return sum(level.scored for level in self.levels)

    @property
    def narrowed(self) -> bool:
        """Whether anything cut the search short."""
        return self.coverage < 1.0

    def overlap(self, truth: SearchResult) -> float:
        """Share of another result's items that this one contains; 1 if the other is empty."""
        return float(np.isin(truth.rows, self.rows).mean()) if len(truth.rows) else 1.0

    def from_ecpm(self, floor: float) -> SearchResult:
        """The items of at least this eCPM, where they are ranked by it."""
        assert self.ecpm is not None
        kept, pool = int(np.count_nonzero(self.ecpm >= floor)), self.pool
        if pool is not None and pool.ecpm is not None:
            pool = pool.take(pool.ecpm >= floor)
        return replace(self, rows=self.rows[:kept], scores=self.scores[:kept], logits=self.logits[:kept],
                       ecpm=self.ecpm[:kept], pool=pool)


@dataclass(frozen=True, eq=False)
class JudgedNodes:
    """Scored nodes of a level above the items.

    Attributes:
        nodes: (C,).
        logits: (C, tasks) float32.
        scores: (C,) float32.
        worth: (C,) what ranks them: the scores, or what they promise of eCPM.
    """

    nodes: NDArray[np.int64]
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    worth: NDArray[np.floating]

    def take(self, kept: NDArray[np.int64]) -> JudgedNodes:
        """Some of them, by index."""
        return JudgedNodes(self.nodes[kept], self.logits[kept], self.scores[kept], self.worth[kept])


@dataclass
class SearchRun(Generic[Query]):
    """The state of one search: its query and limits, and the log of what was scored.

    Attributes:
        tree, scorer: what is searched.
        query: what the scorer understands.
        top_k: most items to return.
        task_weights: (tasks,) float32 weights of the task logits in the score.
        eligible: items that may be returned; None for all.
        deadline: when to be done; None for no deadline.
        valuation: ranks by eCPM; None ranks by score.
        caps: on what is returned; None for none.
        log: of this search.
        newcomers: which items the pool of the result is made of; None for no pool.
    """

    tree: Tree
    scorer: NodeScorer[Query]
    query: Query
    top_k: int
    task_weights: NDArray[np.float32]
    eligible: Eligible | None
    deadline: Deadline | None
    valuation: Valuation | None
    caps: Caps | None
    log: SearchLog
    newcomers: Newcomers | None = None

    @property
    def n_eligible(self) -> int:
        """Number of eligible items."""
        return self.tree.n_items if self.eligible is None else self.eligible.total

    def judged(self, level: int, nodes: NDArray[np.int64]) -> JudgedNodes:
        """Scores distinct nodes (C,) of a level above the items."""
        logits = self.scorer.score(self.query, level, nodes)
        scores: NDArray[np.float32] = logits @ self.task_weights
        worth = scores if self.valuation is None else self.valuation.of_nodes(level, nodes, logits, scores)
        return JudgedNodes(nodes, logits, scores, worth)

    def rank_all(self) -> SearchResult:
        """Ranks all eligible items; under a deadline, only as many of the first positions as fit before it.

        Of the nodes above, only those are scored whose logits are part of these items' logits.
        """
        positions = np.arange(self.tree.n_items) if self.eligible is None else self.eligible.positions()
        if self.deadline is not None and self.scorer.ensemble and len(positions):
            positions = self._that_fit(positions, self.deadline)
        for level in self.scorer.ensemble if len(positions) else ():
            start = time.perf_counter()
            nodes = np.unique(self.tree.ancestors(self.tree.depth, self._in_tree(positions), level))
            judged = self.judged(level, nodes)
            self.log.step(level, nodes, judged.scores, judged.worth, np.arange(len(nodes)))
            self.log.levels.append(LevelTrace(level, len(nodes), len(nodes), len(nodes), len(nodes), start,
                                              time.perf_counter() - start))
        return self.rank(positions)

    def rank(self, positions: NDArray[np.int64]) -> SearchResult:
        """Scores the items at distinct positions (C,) and takes the best: the last step of every search."""
        start, depth, log = time.perf_counter(), self.tree.depth, self.log
        candidates = len(positions)
        logits = self._item_logits(positions)
        if len(logits) < candidates:
            log.planned = log.planned or log.pairs + float(candidates)
            positions = positions[:len(logits)]
        reached = ~np.isnan(logits[:, 0])
        if not reached.all():
            log.unreached += len(positions) - int(np.count_nonzero(reached))
            positions, logits = positions[reached], logits[reached]
        scores = logits @ self.task_weights
        worth = scores if self.valuation is None else self.valuation.of_items(positions, logits, scores)
        rows = self.rows(positions)
        kept = self._chosen(worth, rows)
        pool = None if self.newcomers is None else self.newcomers.pool(
            positions, rows, scores, logits, None if self.valuation is None else worth, kept)
        rows = rows.take(kept)
        log.step(depth, positions, scores, worth, kept)
        log.levels.append(LevelTrace(depth, candidates, len(positions), len(rows), self.top_k, start,
                                     time.perf_counter() - start))
        return SearchResult(rows, scores.take(kept), logits.take(kept, axis=0), tuple(log.levels), self.n_eligible,
                            log.coverage, tuple(log.steps),
                            None if self.valuation is None else ecpm_of(worth.take(kept)), pool, log.cut_by)

    def _chosen(self, worth: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the top_k items of most worth (C,) that the caps allow, best first."""
        most = self.top_k if self.caps is None else _LOOKED_AT * self.top_k
        while True:
            kept = best(worth, rows, most)
            kept = kept.take(np.lexsort((rows.take(kept), -worth.take(kept))))
            if self.caps is None:
                return kept
            allowed = kept[self.caps.passed(rows.take(kept))][:self.top_k]
            if len(allowed) == self.top_k or len(kept) == len(rows):
                return allowed
            most *= _LOOKED_AT

    @property
    def _placed(self) -> PlacedItems | None:
        """The items beyond the tree, if any is eligible."""
        return None if self.eligible is None or self.eligible.placed is None else self.eligible.placed.items

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Item rows (C,) of positions; the row of an item beyond the tree is its position."""
        tree = self.tree
        if self._placed is None:
            return tree.rows.take(positions).astype(np.int64)
        return np.where(positions < tree.n_items, tree.rows.take(positions, mode="clip"), positions)

    def _in_tree(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions (C,) of the tree that have the same ancestors."""
        return positions if self._placed is None else self._placed.in_tree(positions)

    def _that_fit(self, positions: NDArray[np.int64], deadline: Deadline) -> NDArray[np.int64]:
        """The first of these positions (N,), ascending: as many as can be scored in time, with the nodes above them."""
        plan = self._cumulative_pairs(positions)
        seconds = sum(pairs * deadline.cost.seconds_per_pair(level) for level, pairs in plan.items())
        fit = max(LEAST_BLOCK, int(np.searchsorted(seconds, deadline.left(), side="right")))
        if fit < len(positions):
            self.log.planned = float(sum(pairs[-1] for pairs in plan.values()))
        return positions[:fit]

    def _cumulative_pairs(self, positions: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        """For each level scored, the pairs needed for the first 1, 2, ... N of ascending positions (N,): (N,) each."""
        pairs = {self.tree.depth: np.arange(1, len(positions) + 1)}
        for level in self.scorer.ensemble:
            first = np.unique(self.tree.ancestors(self.tree.depth, self._in_tree(positions), level), return_index=True)
            pairs[level] = np.cumsum(np.bincount(first[1], minlength=len(positions)))
        return pairs

    def _item_logits(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of the positions, or of as many of the first ones as fit before the deadline, at least a few."""
        depth, deadline = self.tree.depth, self.deadline
        if not len(positions):
            return np.empty((0, len(self.task_weights)), np.float32)
        if deadline is None and len(positions) <= BLOCK:
            return self.scorer.score(self.query, depth, positions)
        parts, done = [], 0
        while done < len(positions):
            fits = BLOCK
            if deadline is not None:
                fits = int(min(BLOCK, deadline.left() / deadline.cost.seconds_per_pair(depth)))
            if done and fits < LEAST_BLOCK:
                break
            block = positions[done:done + max(fits, LEAST_BLOCK)]
            parts.append(self.scorer.score(self.query, depth, block))
            done += len(block)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def first_task_weights(tasks: int) -> NDArray[np.float32]:
    """Weights (tasks,) float32 that rank by the first task alone, the default of a request without weights."""
    weights = np.zeros(tasks, np.float32)
    weights[0] = 1.0
    return weights


def best(scores: NDArray[np.floating], nodes: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Indices of the k largest scores (C,), in no particular order.

    Ties go to the smallest `nodes` (C,); NaN counts as the lowest score.
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
    if len(found) < k:  # NaN sorts as the largest
        return best(np.where(np.isnan(scores), -np.inf, scores), nodes, k)
    equal = (scores[found] == threshold).nonzero()[0]
    spare = equal[np.argsort(nodes[found[equal]])[k - len(found):]]
    return np.delete(found, spare)
