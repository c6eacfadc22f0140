"""The walk of one traced search through the tree: what it chose among at each level, what it dropped, by how much."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.live.snapshot import Snapshot
from index_store.search.ranking import SearchResult
from index_store.search.trace import LevelTrace, Step
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import Tree
from index_store.value.valuation import ecpm_of

MOST_KEPT, MOST_DROPPED = 100, 50
"""Nodes of a level that are listed."""

BINS = 24
"""Bins of the spread of a level."""


class Walk:
    """Shows a traced search.

    Args:
        found: its result.
        snapshot: that it saw.
        eligible: what it might return; None for all.
    """

    def __init__(self, found: SearchResult, snapshot: Snapshot, eligible: Eligible | None) -> None:
        self._found, self._snapshot, self._eligible = found, snapshot, eligible
        self._tree = snapshot.tree
        self._steps = {step.level: step for step in found.steps}

    def levels(self) -> list[dict[str, Any]]:
        """Every level that the search came to, as a WalkLevel."""
        return [self._level(trace, self._steps.get(trace.level)) for trace in self._found.levels]

    def _level(self, trace: LevelTrace, step: Step | None) -> dict[str, Any]:
        shown = {"level": trace.level, "candidates": trace.candidates, "scored": trace.scored,
                 "ms": round(trace.seconds * 1000, 3)}
        if step is None or not trace.scored:
            return {**shown, "kept": trace.candidates, "eligible_dropped": 0, "spread": None, "nodes": []}
        measured = ecpm_of(step.worth) if self._found.ecpm is not None else step.worth
        eligible = eligible_below(self._tree, self._eligible, step.level, step.nodes)
        return {**shown, "kept": int(step.kept.sum()), "eligible_dropped": int(eligible[~step.kept].sum()),
                "spread": _spread(measured, step.kept), "nodes": self._nodes(step, measured, eligible)}

    def _nodes(self, step: Step, measured: NDArray[np.floating], eligible: NDArray[np.int64]) -> list[dict[str, Any]]:
        order = np.argsort(-step.worth, kind="stable")
        ranks = np.searchsorted(np.sort(-step.worth), -step.worth) + 1
        kept, dropped = order[step.kept[order]], order[~step.kept[order]]
        lowest = measured[kept].min() if len(kept) else None
        best = measured[dropped].max() if len(dropped) else None
        at = np.concatenate([kept[:MOST_KEPT], dropped[:MOST_DROPPED]])
        nodes = step.nodes[at]
        by_ecpm = self._found.ecpm is not None
        shown = zip(nodes.tolist(), self._parents(step.level, nodes), ads_of(self._snapshot, step.level, nodes),
                    ads_below(self._tree, step.level, nodes).tolist(), eligible[at].tolist(),
                    step.scores[at].tolist(), measured[at].tolist(), ranks[at].tolist(), step.kept[at].tolist(),
                    strict=True)
        return [{"node": node, "parent": parent, "ad_id": ad_id, "ads": ads, "eligible": of_these, "score": score,
                 "ecpm": value if by_ecpm else None, "rank": rank, "kept": is_kept,
                 "margin": None if (edge := best if is_kept else lowest) is None else value - float(edge)}
                for node, parent, ad_id, ads, of_these, score, value, rank, is_kept in shown]

    def _parents(self, level: int, nodes: NDArray[np.int64]) -> list[int | None]:
        if level == 1:
            return [None] * len(nodes)
        inside = nodes < self._tree.size(level)
        above = self._tree.ancestors(level, np.where(inside, nodes, 0), level - 1)
        return [node if known else None for node, known in zip(above.tolist(), inside.tolist(), strict=True)]


def ads_of(snapshot: Snapshot, level: int, nodes: NDArray[np.int64]) -> list[str]:
    """For each of the nodes (C,) of a level the ad that represents it, or at the last level the ad itself."""
    tree = snapshot.tree
    positions = nodes if level == tree.depth else tree.representatives[level - 1].take(nodes).astype(np.int64)
    rows = np.where(positions < tree.n_items, tree.rows.take(positions, mode="clip"), positions)
    return snapshot.ad_ids(rows)


def ads_below(tree: Tree, level: int, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ads of the tree below each of the nodes (C,) of a level; 1 for an ad itself."""
    return np.ones(len(nodes), np.int64) if level == tree.depth else tree.items_below(level, nodes)


def eligible_below(tree: Tree, eligible: Eligible | None, level: int, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Eligible ads below each of the nodes (C,) of a level; `eligible` as in Walk."""
    if eligible is None:
        return ads_below(tree, level, nodes)
    if level < tree.depth:
        return eligible.below(tree, level, nodes)
    inside = nodes < tree.n_items  # those beyond the tree are candidates because they are eligible
    found: NDArray[np.int64] = np.where(inside, eligible.contains(np.where(inside, nodes, 0)), True).astype(np.int64)
    return found


def _spread(measured: NDArray[np.floating], kept: NDArray[np.bool_]) -> dict[str, Any]:
    """A Spread."""
    low, high = float(measured.min()), float(measured.max())
    bins = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    return {"low": low, "high": high, "kept": np.histogram(measured[kept], bins)[0].tolist(),
            "dropped": np.histogram(measured[~kept], bins)[0].tolist()}
