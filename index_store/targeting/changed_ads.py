"""Changed ads: what changes do to the eligibility of a bundle's ads, and the ads that they add.

A bundle's own bitmaps do not know about changes. These are combined with what is here, request by request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import FeatureEncoder, Features
from index_store.targeting.ad_filter import AdFilter
from index_store.targeting.attributes import Attributes
from index_store.targeting.eligibility import PositionBitmap
from index_store.targeting.predicate_program import PredicateProgram, compile_predicates
from index_store.targeting.predicates import Predicate
from index_store.tree.placed_items import PlacedItems

_RATIO = 4
"""A compiled part is joined with the one before it unless that has this many times as many predicates."""


@dataclass(frozen=True)
class LivePredicates:
    """Distinct predicates that changes gave to ads; they are numbered in the order in which they came, from 0.

    New ones are compiled by themselves and joined with the older ones as they become many, so that thousands of changes
    do not compile all predicates thousands of times.

    Attributes:
        parts: consecutive predicates that were compiled together.
        numbers: of all predicates.
    """

    parts: tuple[tuple[tuple[Predicate, ...], PredicateProgram], ...] = ()
    numbers: dict[Predicate, int] = field(default_factory=dict)

    def extended(self, predicates: Sequence[Predicate], encoder: FeatureEncoder) -> LivePredicates:
        """These predicates and those of some others (N,) that are not among them."""
        fresh = tuple(dict.fromkeys(one for one in predicates if one not in self.numbers))
        if not fresh:
            return self
        parts = list(self.parts)
        numbers = self.numbers | {one: at for at, one in enumerate(fresh, start=len(self.numbers))}
        while parts and len(parts[-1][0]) < _RATIO * len(fresh):
            fresh = parts.pop()[0] + fresh
        return LivePredicates((*parts, (fresh, compile_predicates(fresh, encoder))), numbers)

    @cached_property
    def fields(self) -> frozenset[str]:
        """Names of all fields of users and context that they read."""
        return frozenset().union(*(program.fields for _, program in self.parts))

    def truth(self, attributes: Attributes) -> NDArray[np.bool_]:
        """Which of them hold: (L,) bool."""
        return np.concatenate([np.empty(0, np.bool_), *(program.truth(attributes) for _, program in self.parts)])

    def predicate(self, number: int) -> Predicate:
        """The predicate of a number."""
        return next(one for at, one in enumerate(chain.from_iterable(part for part, _ in self.parts)) if at == number)


@dataclass(frozen=True, eq=False, kw_only=True)
class AddedTargets:
    """What targeting reads of the ads beyond the tree.

    Attributes:
        placed: where they are.
        live: (J,) bool, those that may be returned to the users whom their predicate accepts.
        predicates: (J,) int32 numbers of their predicates.
        features: of each.
        rows_of: numbers of ids (N,), -1 for one that there is not.
    """

    placed: PlacedItems
    live: NDArray[np.bool_]
    predicates: NDArray[np.int32]
    features: Features
    rows_of: Callable[[NDArray[np.bytes_]], NDArray[np.int64]]

    def filter(self, encoder: FeatureEncoder) -> AdFilter:
        """Evaluates requests' predicates on them; it indexes each field once."""
        return AdFilter(encoder, self.features, np.arange(len(self.live), dtype=np.int32), self.rows_of)


@dataclass(frozen=True, eq=False, kw_only=True)
class ChangedAds:
    """All changes of one moment. The predicates of a bundle and those of the changes are numbered together.

    Attributes:
        encoder: of the bundle.
        live: positions of the tree whose ads no change withdraws or moves beyond the tree; None for all.
        retargeted: (R,) int32 ascending positions of the tree whose ads got another predicate.
        predicates: (R,) int32 numbers of these.
        live_predicates: their number follows that of the bundle's last one.
        added: the ads beyond the tree; None if there are none.
    """

    encoder: FeatureEncoder
    live: PositionBitmap | None = None
    retargeted: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    predicates: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    live_predicates: LivePredicates = field(default_factory=LivePredicates)
    added: AddedTargets | None = None

    @cached_property
    def filter(self) -> AdFilter:
        """Of the added ads."""
        assert self.added is not None
        return self.added.filter(self.encoder)

    def predicate_at(self, position: int) -> int | None:
        """The number of the predicate that a change gave to the ad at a position; None if it has its bundle's."""
        if self.added is not None and position >= self.added.placed.tree.n_items:
            return int(self.added.predicates[position - self.added.placed.tree.n_items])
        at = int(np.searchsorted(self.retargeted, position))
        found = at < len(self.retargeted) and self.retargeted[at] == position
        return int(self.predicates[at]) if found else None
