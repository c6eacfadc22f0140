"""Trace of a search: the cost of every level, the choices made there, and what a deadline cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree

CutBy = Literal["deadline", "shard"]
"""What may cut a search short: time, or shards that are gone or late."""


@dataclass(frozen=True)
class LevelTrace:
    """Work done at one level.

    Attributes:
        scored: pairs; 0 if all candidates fitted into the beam.
        kept: candidates that went on; at the level of the items the best of them.
        width: how many were to be kept.
        began: when the level was reached first, in seconds of `time.perf_counter()`.
        seconds: that it took; where caps made the search go on, over all rounds.
    """

    level: int
    candidates: int
    scored: int
    kept: int
    width: int
    began: float
    seconds: float


@dataclass(frozen=True)
class Step:
    """The choice made at one scored level, for explanations.

    Attributes:
        nodes: (C,) candidates, ascending; positions at the items' level.
        scores: (C,) float32.
        worth: (C,) what they are ranked by: the scores, or their worth (see Valuation).
        kept: (C,) bool, those in the beam; at the items' level those returned.
    """

    level: int
    nodes: NDArray[np.int64]
    scores: NDArray[np.float32]
    worth: NDArray[np.floating]
    kept: NDArray[np.bool_]


@dataclass
class SearchLog:
    """The log of one search.

    Attributes:
        trace: whether choices are recorded.
        levels: one entry per level visited.
        steps: the choices.
        planned: pairs of the whole search, set when a deadline first cuts some off; 0 until then.
        unreached: pairs that could not be scored because a shard was gone or late.
    """

    trace: bool
    levels: list[LevelTrace] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    planned: float = 0.0
    unreached: int = 0

    @property
    def pairs(self) -> int:
        """Number of pairs scored so far."""
        return sum(level.scored for level in self.levels)

    @property
    def coverage(self) -> float:
        """Scored pairs / planned pairs; below 1 only if something cut the search short."""
        if not self.cut_by:
            return 1.0
        # With uneven branches a narrowed search may turn out as large as planned; it was narrowed all the same.
        return min(self.pairs / (self.planned or self.pairs + self.unreached), 1.0 - 1e-6)

    @property
    def cut_by(self) -> tuple[CutBy, ...]:
        """What cut the search short."""
        return (*(("deadline",) if self.planned else ()), *(("shard",) if self.unreached else ()))

    def step(self, level: int, nodes: NDArray[np.int64], scores: NDArray[np.float32],
             worth: NDArray[np.floating], kept: NDArray[np.int64]) -> None:
        """Records a choice if the search is traced.

        Args:
            level: the level scored.
            nodes: (C,) candidates in any order.
            scores: (C,) float32.
            worth: (C,) what they are ranked by.
            kept: (K,) indices into them.
        """
        if self.trace:
            order, chosen = np.argsort(nodes), np.zeros(len(nodes), np.bool_)
            chosen[kept] = True
            self.steps.append(Step(level, nodes[order], scores[order], worth[order], chosen[order]))


def kept_nodes(tree: Tree, steps: Sequence[Step]) -> tuple[Ragged, ...]:
    """The beam of one search, one Ragged of a single row per level; at the last level positions of the items found.

    A level that was not scored, because all candidates fitted into the beam, kept all of them.

    Args:
        tree: the tree searched.
        steps: of a traced beam search with all items eligible and no deadline.
    """
    chosen = {step.level: step.nodes[step.kept] for step in steps}
    kept, nodes = [], np.arange(tree.size(1))
    for level in range(1, tree.depth + 1):
        if level > 1:
            nodes = tree.children(level - 1, nodes)
        nodes = chosen.get(level, nodes)
        kept.append(Ragged.one_row(np.sort(nodes).astype(np.int32)))
    return tuple(kept)
