"""The traffic of the tree: what recent requests did at its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.live.snapshot import Snapshot
from index_store.targeting.eligibility import Eligible
from service.console.replay import Replayed
from service.console.walk import ads_below, ads_of, eligible_below

MOST_NODES = 400
"""Nodes that one call lists."""


class TreeTraffic:
    """What R replayed requests did at each node.

    A level whose candidates all fit into the beam scores none of them and goes on below all that have an eligible ad.

    Args:
        snapshot: that all of them saw.
        requests: the requests.
    """

    def __init__(self, snapshot: Snapshot, requests: Sequence[Replayed]) -> None:
        self._snapshot, self._requests, self._tree = snapshot, requests, snapshot.tree
        self._steps = [{step.level: step for step in one.answer.found.steps} for one in requests]
        self._traces = [{trace.level: trace for trace in one.answer.found.levels} for one in requests]
        self._returned = [np.sort(snapshot.positions(one.answer.found.rows)) for one in requests]

    def nodes(self, level: int, nodes: NDArray[np.int64]) -> list[dict[str, Any]]:
        """TreeNodes of some nodes (C,) of a level: those that most requests scored, most of them first."""
        tree, count = self._tree, max(len(self._requests), 1)
        scored, kept, ms, returned = (np.zeros(len(nodes)) for _ in range(4))
        for number in range(len(self._requests)):
            judged = self._scored(number, level, nodes)
            scored += judged
            kept += self._kept(number, level, nodes)
            trace = self._traces[number].get(level)
            ms += judged * (trace.seconds * 1000 / trace.scored if trace is not None and trace.scored else 0.0)
            first, end = tree.bounds(level, nodes)
            returned += np.searchsorted(self._returned[number], end) - np.searchsorted(self._returned[number], first)
        eligible = self._eligible(level, nodes)
        order = np.lexsort((nodes, -returned, -kept, -scored))[:MOST_NODES]
        chosen = nodes[order]
        children = (np.zeros(len(chosen), np.int64) if level == tree.depth else tree.child_counts(level, chosen))
        shown = zip(chosen.tolist(), ads_of(self._snapshot, level, chosen), ads_below(tree, level, chosen).tolist(),
                    children.tolist(), eligible[order].tolist(), (scored[order] / count).tolist(),
                    (kept[order] / count).tolist(), (returned[order] / count).tolist(), (ms[order] / count).tolist(),
                    strict=True)
        return [{"node": node, "ad_id": ad_id, "ads": ads, "children": below, "eligible": share, "scored": of_scored,
                 "kept": of_kept, "returned": of_answer, "ms": round(time, 4)}
                for node, ad_id, ads, below, share, of_scored, of_kept, of_answer, time in shown]

    def mean_levels(self) -> list[dict[str, Any]]:
        """A MeanLevel for each level that a request came to."""
        found = []
        for level in range(1, self._tree.depth + 1):
            traces = [traces[level] for traces in self._traces if level in traces]
            if traces:
                numbers = np.array([[trace.candidates, trace.scored, trace.seconds * 1000] for trace in traces])
                candidates, scored, ms = (numbers.sum(0) / len(self._requests)).tolist()
                found.append({"level": level, "candidates": candidates, "scored": scored, "ms": round(ms, 4)})
        return found

    def _eligible(self, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean share of the ads of nodes (C,) that was eligible: (C,)."""
        live = self._snapshot.changed.live
        sets = [one.eligible for one in self._requests] or [
            None if live is None else Eligible.of(self._tree.n_items, live)]
        counts = [eligible_below(self._tree, one, level, nodes) for one in sets]
        shares: NDArray[np.float64] = np.mean(counts, axis=0) / ads_below(self._tree, level, nodes)
        return np.minimum(shares, 1.0)  # ads beyond the tree count among the eligible ones below their leaf

    def _scored(self, number: int, level: int, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        step = self._steps[number].get(level)
        return np.zeros(len(nodes), np.bool_) if step is None else np.isin(nodes, step.nodes)

    def _kept(self, number: int, level: int, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        step, eligible = self._steps[number].get(level), self._requests[number].eligible
        if step is not None:
            return np.isin(nodes, step.nodes[step.kept])
        fits = eligible_below(self._tree, eligible, level, nodes) > 0
        return fits if level == 1 else fits & self._kept(number, level - 1, self._tree.ancestors(level, nodes,
                                                                                               level - 1))
