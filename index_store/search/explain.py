"""Explanations: why a search returned an item or did not, by the item's path through the choices of the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.search.caps import Caps
from index_store.search.ranking import SearchResult
from index_store.search.trace import Step
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree
from index_store.value.valuation import ecpm_of

Outcome = Literal["returned", "explored", "displaced", "below_floor", "outscored", "capped", "pruned", "cut_short",
                  "filtered"]


@dataclass(frozen=True)
class PathStep:
    """An item's node at one level.

    Attributes:
        level: from 1, the items' level last.
        node: number within the level; at the items' level the position.
        score: None if the level, or this node, was not scored.
        rank: from 1, among the scored nodes, by score or eCPM, whichever ranks; equal ones share a rank.
        margin: for a kept node, its score (or eCPM) minus the best one dropped; for a dropped one, minus the lowest one
            kept; None if there is no such node.
        ecpm: in micros, of the item or promised by the node; None where the score ranks.
    """

    level: int
    node: int
    score: float | None = None
    rank: int | None = None
    margin: float | None = None
    ecpm: float | None = None


@dataclass(frozen=True)
class Explanation:
    """The outcome for one item.

    Attributes:
        outcome: `returned`; `explored`: in the place of another, which is `displaced`; `below_floor`: it would be, but
            for the least eCPM; `outscored` at the items' level; `capped`: there was room for it, but items that rank
            above it had used up a cap; `pruned` above it; `cut_short`: reached, but the deadline came before it was
            scored; `filtered`: not eligible.
        path: down to the level that decided.
        kth_score: the score of the last item returned; None if nothing was.
        kth_ecpm: likewise; None where the score ranks.
        cap: the name of the cap, if it was capped.
    """

    outcome: Outcome
    path: tuple[PathStep, ...]
    kth_score: float | None
    kth_ecpm: float | None = None
    cap: str | None = None


class Explainer:
    """Explains one traced search.

    Args:
        tree: the tree searched.
        found: the result, with its steps.
        placed: items beyond the tree; None if there are none.
        caps: of the search; None for none.
        top_k: of the search, where it has caps.
    """

    def __init__(self, tree: Tree, found: SearchResult, placed: PlacedItems | None = None, caps: Caps | None = None,
                 top_k: int = 0) -> None:
        self._tree, self._found, self._placed, self._caps, self._top_k = tree, found, placed, caps, top_k
        self._choices = {step.level: _Choice.of(step, found.ecpm is not None) for step in found.steps}

    def paths(self, rows: NDArray[np.integer]) -> list[tuple[PathStep, ...]]:
        """The whole path of each item row (N,)."""
        return [self._path(row) for row in rows.tolist()]

    def explain(self, row: int, eligible: bool) -> Explanation:
        """The outcome for an item row."""
        found = self._found
        kth = (float(found.scores[-1]) if len(found.scores) else None,
               float(found.ecpm[-1]) if found.ecpm is not None and len(found.ecpm) else None)
        if not eligible:
            return Explanation("filtered", (), *kth)
        path = self._path(row)
        cap = None if self._caps is None else self._holding(self._caps, row, path[-1].node)
        if path[-1].score is not None:  # an item beyond the tree may have come by another leaf than the nearest
            if self._choices[self._tree.depth].keeps(path[-1].node):
                return Explanation("returned" if row in found.rows else "below_floor", path, *kth)
            return Explanation("outscored" if cap is None else "capped", path, *kth, cap)
        if cap is not None:
            return Explanation("capped", path, *kth, cap)
        for at, step in enumerate(path):
            choice = self._choices.get(step.level)
            if choice is not None and step.score is not None and not choice.keeps(step.node):
                return Explanation("pruned", path[:at + 1], *kth)
        # Without a deadline, an item below the beam is left out only by what its bid promises, or as a beam that went
        # on because of caps left out those of values that were used up.
        cap = None if self._caps is None else self._caps.holding(row, self._kept_above(row, path[-1].node))
        if cap is not None:
            return Explanation("capped", path, *kth, cap)
        by_choice = not found.narrowed and (found.ecpm is not None or self._caps is not None)
        return Explanation("pruned" if by_choice else "cut_short", path, *kth)

    def _holding(self, caps: Caps, row: int, position: int) -> str | None:
        """The cap without which there would be a place for an item; None if there is none."""
        above = self._kept_above(row, position)
        return None if len(above) == self._top_k else caps.holding(row, above)

    def _kept_above(self, row: int, position: int) -> NDArray[np.int64]:
        return self._choices[self._tree.depth].kept_above(position, row, self._tree)

    def _path(self, row: int) -> tuple[PathStep, ...]:
        steps: list[PathStep] = []
        for level, node in enumerate(path_of(self._tree, self._placed, row), start=1):
            choice = self._choices.get(level)
            steps.append(PathStep(level, node) if choice is None else choice.step(node))
        return tuple(steps)


def path_of(tree: Tree, placed: PlacedItems | None, row: int) -> list[int]:
    """The node of an item row at each level, at the last one its position; beyond the tree, by its nearest leaf."""
    beyond = row - tree.n_items
    if beyond < 0:
        position = int(tree.position_of_row[row])
    else:
        assert placed is not None
        position = int(placed.anchors[beyond])
    above = [tree.node_at(level, position) for level in range(1, tree.depth)]
    return [*above, position if beyond < 0 else row]


@dataclass(frozen=True)
class _Choice:
    """A Step, prepared for ranks and margins.

    `measured` (C,) is what margins are told in, score or eCPM; `ordered` holds the negated worth, best first.
    """

    traced: Step
    by_ecpm: bool
    measured: NDArray[np.floating]
    ordered: NDArray[np.floating]
    lowest_kept: float | None
    best_dropped: float | None

    @classmethod
    def of(cls, step: Step, by_ecpm: bool) -> _Choice:
        measured = ecpm_of(step.worth) if by_ecpm else step.worth
        kept, dropped = measured[step.kept], measured[~step.kept]
        return cls(step, by_ecpm, measured, np.sort(-step.worth), float(kept.min()) if len(kept) else None,
                   float(dropped.max()) if len(dropped) else None)

    def step(self, node: int) -> PathStep:
        at = _index(self.traced.nodes, node)
        if at is None:
            return PathStep(self.traced.level, node)
        measured, edge = float(self.measured[at]), self.best_dropped if self.traced.kept[at] else self.lowest_kept
        return PathStep(self.traced.level, node, float(self.traced.scores[at]),
                        int(np.searchsorted(self.ordered, -self.traced.worth[at])) + 1,
                        None if edge is None else measured - edge,
                        measured if self.by_ecpm else None)

    def keeps(self, node: int) -> bool:
        at = _index(self.traced.nodes, node)
        return at is not None and bool(self.traced.kept[at])

    def kept_above(self, position: int, row: int, tree: Tree) -> NDArray[np.int64]:
        """At the items' level, the rows (K,) of those kept that rank above an item; all if it was not scored."""
        at, kept = _index(self.traced.nodes, position), self.traced.kept
        positions, worth = self.traced.nodes[kept], self.traced.worth[kept]
        rows = np.where(positions < tree.n_items, tree.rows.take(positions, mode="clip"), positions)
        if at is None:
            return rows
        own = self.traced.worth[at]
        above: NDArray[np.int64] = rows[~((worth < own) | ((worth == own) & (rows >= row)))]
        return above


def _index(ascending: NDArray[np.int64], value: int) -> int | None:
    """Index of a value in an ascending array; None if it is absent."""
    at = int(np.searchsorted(ascending, value))
    return at if at < len(ascending) and ascending[at] == value else None


def as_json(path: Sequence[PathStep]) -> list[dict[str, float | int | None]]:
    """A path as plain dicts."""
    return [{"level": step.level, "node": step.node, "score": step.score, "rank": step.rank, "margin": step.margin,
             "ecpm": step.ecpm} for step in path]
