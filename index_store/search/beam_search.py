"""Beam search and exhaustive search over the tree, under one scorer interface.

The search asks the scorer once a level for all candidates of that level; it knows nothing of models, features or HTTP.
Exhaustive search is the truth that every recall figure refers to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from index_store.search.deadline import Deadline
from index_store.search.ranking import LEAST_BLOCK, NodeScorer, Query, SearchResult, best, rank_directly, rank_items
from index_store.search.trace import LevelTrace, SearchLog
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import Tree

MOST_WIDENED = 2.0
"""Where targeting leaves half of the items or less, the beam is this much wider; see decision 5."""


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
                    return rank_directly(tree, self.scorer, query, eligible.positions(), top_k, task_weights,
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
        return rank_items(tree, self.scorer, query, nodes, top_k, task_weights, total, deadline, log)

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
