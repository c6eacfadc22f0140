"""Searches of a bench behind one interface: each finds the top ads of a user with a given scorer.

The scorer is the bundle's own where time is measured, and a table of precomputed scores where only the answer matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import NodeScorer, best
from index_store.search.scoring import UserQuery
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import Tree

TOP_K = 100
MOST_POINTS = 12
"""Most points of a bundle's beam curve that a sweep tries, evenly spaced."""


@dataclass(frozen=True)
class SearchRequest:
    """One user, as input of every search.

    Attributes:
        query: input of the bundle's scorer.
        vector: (D,) float32 query vector of the two towers; None for searches that do not need one.
        eligible: ads that may be returned.
        weights: (tasks,) float32 task weights.
    """

    query: UserQuery
    vector: NDArray[np.float32] | None
    eligible: Eligible
    weights: NDArray[np.float32]


class Search(Protocol):
    """A search with its settings.

    Attributes:
        kind: list of the report that its row goes to.
        params: its settings by name.
        wants_vector: whether it needs the query vector of the two towers.
    """

    @property
    def kind(self) -> str: ...

    @property
    def wants_vector(self) -> bool: ...

    @property
    def params(self) -> Mapping[str, Any]: ...

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        ...


@dataclass(frozen=True)
class Exhaustive:
    """Scores every eligible ad."""

    tree: Tree
    kind: str = "exhaustive"
    wants_vector: bool = False

    @property
    def params(self) -> Mapping[str, Any]:
        return {}

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        return ExhaustiveSearch(self.tree, scorer).search(
            request.query, top_k=TOP_K, task_weights=request.weights, eligible=request.eligible).rows


@dataclass(frozen=True)
class Beam:
    """Beam search over the tree.

    Attributes:
        beam_width: nodes kept at each level above the items.
        default: whether these are the bundle's own widths.
    """

    tree: Tree
    beam_width: tuple[int, ...]
    default: bool
    kind: str = "beam"
    wants_vector: bool = False

    @property
    def params(self) -> Mapping[str, Any]:
        return {"beam_width": list(self.beam_width), "default": self.default}

    def find(self, request: SearchRequest, scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
        """Item rows of the best TOP_K ads, best first."""
        return BeamSearch(self.tree, scorer).search(
            request.query, top_k=TOP_K, beam_width=self.beam_width, task_weights=request.weights,
            eligible=request.eligible).rows


def rerank(tree: Tree, request: SearchRequest, positions: NDArray[np.int64],
           scorer: NodeScorer[UserQuery]) -> NDArray[np.int64]:
    """Item rows of the best TOP_K among distinct positions (C,), best first, by one call of the scorer."""
    if not len(positions):
        return positions
    return ranked(tree, positions, scorer.score(request.query, tree.depth, positions) @ request.weights)


def ranked(tree: Tree, positions: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Item rows of the best TOP_K of positions (C,) with scores (C,), best first; equal ones by item row."""
    rows = tree.rows.take(positions).astype(np.int64)
    kept = best(scores, rows, TOP_K)
    order = np.lexsort((rows[kept], -scores[kept]))
    return rows[kept[order]]


@dataclass
class PairCounter:
    """A scorer that counts the pairs that another scorer computes for one user.

    In a stack an item's score includes those of nodes above it. The scorer computes each of them once, whether or not
    the search visits that level, so they are counted too.

    Attributes:
        tree: the tree that is searched.
        scorer: the scorer whose work is counted.
    """

    tree: Tree
    scorer: NodeScorer[UserQuery]
    _others: int = field(default=0, init=False)
    _known: dict[int, NDArray[np.bool_]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._known = {level: np.zeros(self.tree.size(level), bool) for level in self.ensemble}

    @property
    def ensemble(self) -> tuple[int, ...]:
        return self.scorer.ensemble

    @property
    def pairs(self) -> int:
        """(user, node) pairs scored so far."""
        return self._others + sum(int(known.sum()) for known in self._known.values())

    def score(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of distinct nodes (C,) of a level: (C, tasks)."""
        for own, known in self._known.items():
            if own < level:
                known[self.tree.ancestors(level, nodes, own)] = True
        if level in self._known:
            self._known[level][nodes] = True
        else:
            self._others += len(nodes)
        return self.scorer.score(query, level, nodes)


@dataclass(frozen=True)
class PrecomputedScores:
    """A scorer of one user that looks up precomputed logits, so that one pass of the model serves every search.

    Attributes:
        logits: (nodes, tasks) float32 for each level.
        ensemble: as that of the scorer.
    """

    logits: Sequence[NDArray[np.float32]]
    ensemble: tuple[int, ...]

    @classmethod
    def of(cls, scorer: NodeScorer[UserQuery], query: UserQuery, tree: Tree, block: int = 1 << 14) -> PrecomputedScores:
        """Scores all nodes of a tree, a block at a time."""
        return cls([np.concatenate([scorer.score(query, level, np.arange(start, min(start + block, tree.size(level))))
                                    for start in range(0, tree.size(level), block)])
                    for level in range(1, tree.depth + 1)], scorer.ensemble)

    def score(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of nodes (C,): (C, tasks)."""
        return self.logits[level - 1][nodes]


def beams(tree: Tree, default: Sequence[int], curve: Sequence[Sequence[int]], shares: Sequence[float]) -> list[Beam]:
    """Distinct beams of a sweep, narrow to wide: the default, multiples of it, and points of the curve.

    Args:
        tree: of the bundle.
        default: the bundle's own widths.
        curve: widths of the points of the bundle's beam curve.
        shares: multiples of the default.
    """
    sizes = [tree.size(level) for level in range(1, tree.depth)]
    among = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), MOST_POINTS)).round().astype(int))
    scaled = [[share * width for width in default] for share in shares]

    def cut(beam: Sequence[float]) -> tuple[int, ...]:
        return tuple(min(size, max(1, round(width))) for size, width in zip(sizes, beam, strict=True))

    widths = {cut(beam) for beam in (default, *(curve[at] for at in among), *scaled)}
    return [Beam(tree, width, width == cut(default)) for width in sorted(widths, key=lambda w: w[::-1])]
