"""Refill: goes on with a beam search whose items are fewer than asked for because of caps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index_store.search.caps import Caps
from index_store.search.ranking import Query, SearchResult, SearchRun
from index_store.search.trace import LevelTrace, SearchLog, Step
from index_store.targeting.eligibility import Eligible, PlacedMembers, PositionBitmap
from index_store.value.valuation import worth_of


def refilled(run: SearchRun[Query], caps: Caps, found: SearchResult,
             search: Callable[[SearchRun[Query], int], SearchResult]) -> SearchResult:
    """A result that holds top_k items, or to which the caps let no eligible item be added.

    Each round searches among those that could be added, with a beam twice as wide as before. A deadline ends it early.

    Args:
        run: of the search so far.
        caps: of the run.
        found: its result.
        search: runs another one, with a beam so many times as wide.
    """
    wider = 1
    while len(found.rows) < run.top_k and not found.narrowed:
        addable = _addable(run, caps, found.rows)
        if not addable.total:
            break
        if run.deadline is not None:
            again = {level.level: float(level.scored) for level in found.levels}
            if run.deadline.left() < run.deadline.cost.seconds(again):
                return replace(found, coverage=found.pairs_scored / (found.pairs_scored + addable.total),
                               cut_by=("deadline",))
        if wider > max(map(run.tree.size, range(1, run.tree.depth + 1))):
            # All were scored, and yet a better item took the place of several, as can happen with several caps.
            return _joined(run, caps, found, replace(run, log=SearchLog(run.log.trace)).rank_all())
        wider *= 2
        more = search(replace(run, eligible=addable, log=SearchLog(run.log.trace)), wider)
        found = _joined(run, caps, found, more)
    return found


def _addable(run: SearchRun[Query], caps: Caps, taken: NDArray[np.int64]) -> Eligible:
    """The eligible items that could be returned beside those at some rows (K,)."""
    n_items = run.tree.n_items
    positions = np.arange(n_items) if run.eligible is None else run.eligible.positions()
    positions = positions[caps.open(run.rows(positions), taken)]
    flags = np.zeros(n_items, np.bool_)
    flags[positions[positions < n_items]] = True
    beyond = np.sort(positions[positions >= n_items]) - n_items
    placed = None if run.eligible is None or not len(beyond) else run.eligible.placed
    return Eligible.of(n_items, PositionBitmap.of(flags),
                       placed=None if placed is None else PlacedMembers(placed.items, beyond))


def _joined(run: SearchRun[Query], caps: Caps, found: SearchResult, more: SearchResult) -> SearchResult:
    """What the walk takes of two results, and the work of both."""
    rows, once = np.unique(np.concatenate([found.rows, more.rows]), return_index=True)
    scores, logits = (np.concatenate(pair)[once] for pair in ((found.scores, more.scores), (found.logits, more.logits)))
    ecpm = None
    if found.ecpm is not None and more.ecpm is not None:
        ecpm = np.concatenate([found.ecpm, more.ecpm])[once]
    order = np.lexsort((rows, -(scores if ecpm is None else worth_of(ecpm.copy(), scores))))
    kept = order[caps.passed(rows[order])][:run.top_k]
    planned = sum(one.pairs_scored / max(one.coverage, 1e-6) for one in (found, more))
    cut_by = tuple(dict.fromkeys((*found.cut_by, *more.cut_by)))
    return SearchResult(
        rows[kept], scores[kept], logits[kept], _levels(found, more), found.eligible,
        min((found.pairs_scored + more.pairs_scored) / max(planned, 1.0), 1.0 - 1e-6) if cut_by else 1.0,
        _steps(run, found, more, rows[kept]), None if ecpm is None else ecpm[kept],
        None if found.pool is None or more.pool is None else found.pool.joined(more.pool, rows[kept]), cut_by)


def _levels(found: SearchResult, more: SearchResult) -> tuple[LevelTrace, ...]:
    levels: dict[int, LevelTrace] = {}
    for one in (*found.levels, *more.levels):
        former = levels.get(one.level)
        levels[one.level] = one if former is None else LevelTrace(
            one.level, former.candidates + one.candidates, former.scored + one.scored, former.kept + one.kept,
            max(former.width, one.width), former.began, former.seconds + one.seconds)
    return tuple(levels[level] for level in sorted(levels))


def _steps(run: SearchRun[Query], found: SearchResult, more: SearchResult, rows: NDArray[np.int64]) -> tuple[Step, ...]:
    """The choices of both; at the items' level, the rows (K,) taken in the end."""
    tree, steps = run.tree, {step.level: step for step in found.steps}
    for other in more.steps:
        former = steps.get(other.level, other)
        nodes, once = np.unique(np.concatenate([former.nodes, other.nodes]), return_index=True)
        kept = np.concatenate([former.nodes[former.kept], other.nodes[other.kept]])
        if other.level == tree.depth:
            kept = np.where(rows < tree.n_items, tree.position_of_row.take(rows, mode="clip"), rows)
        steps[other.level] = Step(other.level, nodes, np.concatenate([former.scores, other.scores])[once],
                                  np.concatenate([former.worth, other.worth])[once], np.isin(nodes, kept))
    return tuple(steps[level] for level in sorted(steps))
