"""Beam search over the tree (Section 4.6): one scorer call per level, for all candidates of that level."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from index_store.search.caps import Caps
from index_store.search.deadline import Deadline
from index_store.search.leaf_items import beyond_first, most_promising, with_leading
from index_store.search.newcomers import Newcomers
from index_store.search.ranking import LEAST_BLOCK, JudgedNodes, NodeScorer, Query, SearchResult, SearchRun, best
from index_store.search.refill import refilled
from index_store.search.trace import LevelTrace, SearchLog
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import Tree
from index_store.value.valuation import Valuation

WIDER = 2
"""Factor by which a search by eCPM widens the beam at each level, and once more at the leaf nodes, of whose items it
scores no more than the beam would hold without; see decision 28."""

MOST_WIDENED = 2.0
"""Factor by which the beam is widened where targeting leaves half of the items or less; see decision 5. The pairs that
a beam so wide takes without targeting are what a targeted search may spend; see decision 33."""

NEXT_LEVEL = 0.5
"""Share of the pairs left that a targeted search may spend on the next level, where there are further ones below."""


def widening(tree: Tree, eligible: Eligible | None) -> float:
    """Factor by which targeting widens the beam: a node holds fewer eligible items, so more nodes are worth scoring."""
    if eligible is None or not eligible.in_tree:
        return 1.0
    return min(MOST_WIDENED, tree.n_items / eligible.in_tree)


@dataclass(frozen=True)
class BeamSearch(Generic[Query]):
    """Walks from the root to the items and keeps `beam_width` nodes per level (Section 4.6).

    By score it keeps the nodes of the highest scores, by eCPM those that promise most. A level whose candidates fit
    into the beam is not scored, and nodes without an eligible item never are. The beam
    widens, in order of score, until the kept nodes hold top_k eligible items, so a result holds min(top_k, eligible)
    items.

    Targeting leaves the fewest items where it goes against the score. By score, a targeted search therefore keeps so
    many nodes that they hold as many eligible items as the beam would hold of all, as far as the pairs go that the
    widened beam would take without targeting. As soon as all eligible items below the nodes fit into these, they are
    scored directly: nodes say little about the few items that are left.

    By eCPM the beam is wider, but scores as many items: of those below it, the ones whose own bids promise most at the
    probabilities of their leaf nodes. To them it adds the eligible items of the top_k highest CPM bids, whose eCPM is
    known; where those make up the result, nothing else is scored.

    Caps may allow fewer than top_k of the items below the beam: then it searches on among those that could be added,
    with a wider beam, until the result holds top_k items or none can be added.

    Items that are placed beyond the tree are candidates where one of their leaf nodes is in the beam. They are scored
    as all others are, in the same call.
    """

    tree: Tree
    scorer: NodeScorer[Query]

    def search(self, query: Query, *, top_k: int, beam_width: int | Sequence[int], task_weights: NDArray[np.float32],
               eligible: Eligible | None = None, deadline: Deadline | None = None,
               valuation: Valuation | None = None, caps: Caps | None = None, trace: bool = False,
               newcomers: Newcomers | None = None) -> SearchResult:
        """Finds the best items.

        Args:
            query: what the scorer understands.
            top_k: most items to return, >= 1.
            beam_width: nodes to keep at each level above the items, >= 1; or one number per level.
            task_weights: (tasks,) float32 weights of the task logits in the score.
            eligible: items that may be returned; None for all.
            deadline: as it comes near, the beam narrows, in the worst case to one node per level; the result may then
                hold fewer than min(top_k, eligible) items.
            valuation: ranks by eCPM and steers the beam by it; None for the score.
            caps: on the items returned; None for none.
            trace: whether to record the choices, for explanations.
            newcomers: which items the pool of the result is made of; None for no pool.

        Raises:
            ValueError: beam_width names another number of levels than the tree has above the items.
        """
        inner = self.tree.depth - 1
        widths = [beam_width] * inner if isinstance(beam_width, int) else list(beam_width)
        if len(widths) != inner:
            raise ValueError(f"beam_width names {len(widths)} levels, the tree has {inner} above the items; give one "
                             "number per level, or one for all")
        run = SearchRun(self.tree, self.scorer, query, top_k, task_weights, eligible, deadline, valuation,
                        caps, SearchLog(trace), newcomers)
        found = _Beam(run, widths).search()
        if caps is None:
            return found
        return refilled(run, caps, found, lambda again, wider: _Beam(again, [wider * w for w in widths]).search())


class _Beam(Generic[Query]):
    """The beam of one search, whose widths a deadline may narrow on the way down.

    Args:
        run: the search.
        widths: nodes to keep at each level above the items, without targeting.
    """

    def __init__(self, run: SearchRun[Query], widths: Sequence[int]) -> None:
        self._run, self._tree, self._ensemble = run, run.tree, run.scorer.ensemble
        wider = widening(run.tree, run.eligible)
        self._unwidened = widths
        self._widths = [width * wider for width in widths]
        self._density = 1.0 if run.eligible is None else run.eligible.in_tree / run.tree.n_items
        self._narrowed = False
        self._directly = False  # to the items, past the levels between
        self._most = float("inf")  # items to score
        if run.valuation is not None and widths:
            of_leaf = run.n_eligible / run.tree.size(run.tree.depth - 1)
            self._most = max(run.top_k, self._widths[-1] * of_leaf)
            self._widths = [WIDER * width for width in self._widths]
            self._widths[-1] *= WIDER
        self._left = run.top_k + sum(self._pairs_below(0, density=1.0).values())

    def search(self) -> SearchResult:
        run, tree = self._run, self._tree
        if run.eligible is not None and self._scores_directly(run.eligible):
            return run.rank_all()
        if run.valuation is not None and run.newcomers is None and not run.valuation.needs_scores:
            leading = run.valuation.bids.leading(run.eligible, run.top_k)
            if len(leading) == min(run.top_k, run.n_eligible):
                return run.rank(beyond_first(tree, leading))
        nodes = np.arange(tree.size(1))
        leaves = np.empty(0, np.int64)
        judged = None
        for level in range(1, tree.depth):
            start = time.perf_counter()
            held = None
            if run.eligible is not None:
                held = run.eligible.below(tree, level, nodes)
                if not held.all():
                    some = held > 0
                    nodes, held = nodes[some], held[some]
                if self._by_budget and level > max(self._ensemble, default=0) and held.sum() <= self._left:
                    return run.rank(run.eligible.under(tree, level, nodes))
            candidates = len(nodes)
            scored = (candidates > self._widths[level - 1] or level in self._ensemble
                      or self._crowded(level, nodes, held))
            if scored:
                judged = self._cut(level, nodes, held)
                nodes = judged.nodes
                self._left -= candidates
            leaves, nodes = nodes, tree.children(level, nodes)
            run.log.levels.append(LevelTrace(level, candidates, candidates if scored else 0, len(leaves),
                                             int(self._widths[level - 1]), start, time.perf_counter() - start))
            if self._directly and run.eligible is not None:
                return run.rank(run.eligible.under(tree, level, leaves))
        if judged is not None and scored and run.valuation is not None:
            nodes = most_promising(run, run.valuation, judged, int(self._most))
        elif run.eligible is not None:
            nodes = nodes[run.eligible.contains(nodes)]
            if run.eligible.placed is not None:
                nodes = np.concatenate([run.eligible.placed.under(leaves), nodes])
        return run.rank(nodes if run.valuation is None else with_leading(run, run.valuation, nodes))

    def _crowded(self, level: int, nodes: NDArray[np.int64], held: NDArray[np.int64] | None) -> bool:
        """Whether these leaf nodes hold more items than are to be scored, so that bids have to choose among them."""
        if level < self._tree.depth - 1 or self._run.valuation is None:
            return False
        return int((self._tree.items_below(level, nodes) if held is None else held).sum()) > self._most

    def _scores_directly(self, eligible: Eligible) -> bool:
        """Whether to score all eligible items directly: that takes no more pairs than the beam, and fits the time."""
        run, tree, deadline = self._run, self._tree, self._run.deadline
        plan = {level: float(min(eligible.total, tree.size(level))) for level in (*self._ensemble, tree.depth)}
        pairs = sum(plan.values())
        if pairs > self._left:
            return False
        if deadline is None or pairs <= LEAST_BLOCK or deadline.cost.seconds(plan) <= deadline.left():
            return True
        run.log.planned = pairs
        return False

    def _cut(self, level: int, nodes: NDArray[np.int64], held: NDArray[np.int64] | None) -> JudgedNodes:
        """Scores the candidates of a level and keeps the best, as many as beam width, time left and top_k allow.

        Args:
            level: above the items.
            nodes: (C,) candidates.
            held: (C,) eligible items of each; None where all items are eligible.
        """
        run, tree = self._run, self._tree
        judged = run.judged(level, nodes)
        scores, worth = judged.scores, judged.worth
        width = int(self._widths[level - 1])
        kept = best(worth, nodes, width)
        if held is not None and self._by_budget:
            kept = self._affordable(level, nodes, scores, held)
        below = int((tree.items_below(level, nodes.take(kept)) if held is None else held.take(kept)).sum())
        if self._narrow(level, nodes[kept], below, len(nodes)):
            kept = best(worth, nodes, int(self._widths[level - 1]))
        if not (self._narrowed or self._by_budget) and (below < run.top_k or run.valuation is not None):
            kept = self._filling(nodes, scores, worth, tree.items_below(level, nodes) if held is None else held, width)
        run.log.step(level, nodes, scores, worth, kept)
        if run.deadline is None:
            kept.sort()  # neighbours in memory
        else:  # the most promising first, in case the items are cut short
            kept = kept[np.argsort(-worth.take(kept), kind="stable")]
        return judged.take(kept)

    @property
    def _by_budget(self) -> bool:
        """Whether the search keeps as many nodes as the pairs allow that it may spend, not a number of them."""
        return self._run.eligible is not None and self._run.valuation is None and not self._narrowed

    def _affordable(self, level: int, nodes: NDArray[np.int64], scores: NDArray[np.float32],
                    held: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the best nodes by score, as many as the pairs left allow; sets whether to score their items next.

        Args:
            level: above the items.
            nodes, scores, held: (C,) each, with the number of eligible items.
        """
        tree, left, order = self._tree, self._left - len(nodes), np.lexsort((nodes, -scores))
        items = np.cumsum(held[order])
        full = int(np.searchsorted(items, self._run.top_k)) + 1
        scored = int(np.searchsorted(items, left, side="right"))  # so many nodes if their items come next
        if level == tree.depth - 1:
            return order[: max(int(self._widths[level - 1]), full, scored)]
        children = np.cumsum(tree.child_counts(level, nodes[order]))
        width = self._unwidened[level - 1]
        wanted = int(np.searchsorted(items, tree.items_below(level, nodes[order[:width]]).sum())) + 1
        walked = max(width, full, min(wanted, int(np.searchsorted(children, NEXT_LEVEL * left, side="right"))))
        self._directly = scored >= walked and level >= max(self._ensemble, default=0)
        return order[: scored if self._directly else walked]

    def _filling(self, nodes: NDArray[np.int64], scores: NDArray[np.float32], worth: NDArray[np.floating],
                 items: NDArray[np.int64], width: int) -> NDArray[np.int64]:
        """Indices of nodes that hold top_k items: as few of the best by score as do, then those of most worth.

        Which nodes hold top_k items must not depend on bids: a node that rises would push out others, and so let in
        some further down that outbid it (decision 28).

        Args:
            nodes, scores, worth, items: (C,) each, with the number of eligible items.
            width: nodes to keep, if they hold top_k items.
        """
        by_score = np.lexsort((nodes, -scores))
        enough = int(np.searchsorted(np.cumsum(items[by_score]), self._run.top_k)) + 1
        others = by_score[enough:]
        return np.concatenate([by_score[:enough],
                               others[best(worth.take(others), nodes.take(others), width - enough)]])

    def _narrow(self, level: int, kept: NDArray[np.int64], items: int, scored: int) -> bool:
        """Narrows the beam from `level` on if the pairs below the kept nodes do not fit before a deadline.

        Args:
            level: whose candidates were scored.
            kept: (K,) nodes of it in the beam.
            items: number of eligible items below them.
            scored: pairs scored at this level.
        """
        run, tree, log, deadline = self._run, self._tree, self._run.log, self._run.deadline
        if deadline is None:
            return False
        children = float(tree.child_counts(level, kept).sum())
        # The kept nodes tend to be large ones; what holds for their children is taken to hold further down.
        skew = children * tree.size(level) / (len(kept) * tree.size(level + 1))
        plan = {level + 1: min(children, items, self._most if level + 1 == tree.depth else children)}
        plan |= {below: skew * pairs for below, pairs in self._pairs_below(level + 1, self._density).items()}
        if self._directly:
            plan = {tree.depth: float(items)}
        share = deadline.left() / deadline.cost.seconds(plan)
        if share >= 1.0:
            return False
        log.planned = log.planned or log.pairs + scored + sum(plan.values())
        for at in range(level - 1, len(self._widths)):
            self._widths[at] = max(1.0, self._widths[at] * share)
        if run.valuation is not None:
            self._most = max(1.0, self._most * share)
        self._narrowed, self._directly = True, False
        return True

    def _pairs_below(self, level: int, density: float) -> dict[int, float]:
        """Expected pairs at each level below `level`, as if all nodes of a level were of equal size.

        Args:
            level: 0 for the root.
            density: share of the items that is eligible.
        """
        tree, widths, pairs = self._tree, self._widths, dict[int, float]()
        for below in range(level + 1, tree.depth + 1):
            candidates = float(tree.size(below))
            if below > 1:
                candidates = min(candidates, widths[below - 2] * candidates / tree.size(below - 1))
            if below == tree.depth:
                pairs[below] = min(candidates * density, self._most)
            elif candidates > widths[below - 1] or below in self._ensemble:
                pairs[below] = candidates
        return pairs
