"""Predicates over ad fields, evaluated for all ads at once: what a request's `targeting` leaves of the catalogue.

Each field that is ever asked for is inverted once: its positions sorted by value. A clause then costs as much as it has
matches, a connective one pass over packed bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import ITEM_ID, UNKNOWN, FeatureEncoder, Features
from index_store.features.ragged import expand_ranges
from index_store.features.tower_inputs import item_keys
from index_store.features.values import look_up
from index_store.targeting.attributes import bounds
from index_store.targeting.eligibility import PositionBitmap
from index_store.targeting.predicates import AllOf, AnyOf, Not, OneOf, Predicate, Within
from index_store.tree.tree import Tree


@dataclass(frozen=True)
class _Inverted:
    """Positions (M,) int32 of one field, sorted by their values (M,)."""

    values: NDArray[Any]
    positions: NDArray[np.int32]

    @classmethod
    def of(cls, values: NDArray[Any], positions: NDArray[np.int32]) -> _Inverted:
        if values.dtype.kind == "i" and int(values.max(initial=0)) < 1 << 16:
            order = np.argsort(values.astype(np.uint16), kind="stable")  # of 16 bits numpy sorts by radix
        else:
            order = np.argsort(values)
        return cls(values[order], positions[order])


@dataclass(frozen=True)
class AdFilter:
    """Answers which positions of a tree hold an ad for which a predicate holds. Threads may share it.

    Attributes:
        items: encoded features by item row.
    """

    encoder: FeatureEncoder
    items: Features
    tree: Tree
    _inverted: dict[str, _Inverted] = field(default_factory=dict, repr=False, compare=False)

    def bitmap(self, predicate: Predicate) -> PositionBitmap:
        """Positions of the ads for which the predicate holds."""
        match predicate:
            case Not(part):
                return ~self.bitmap(part)
            case AllOf(parts):
                found = PositionBitmap.full(self.tree.n_items)
                for part in parts:
                    found &= self.bitmap(part)
                return found
            case AnyOf(parts):
                found = ~PositionBitmap.full(self.tree.n_items)
                for part in parts:
                    found |= self.bitmap(part)
                return found
            case OneOf() | Within():
                flags = np.zeros(self.tree.n_items, np.bool_)
                flags[self._positions(predicate)] = True
                return PositionBitmap.of(flags)

    def _positions(self, clause: OneOf | Within) -> NDArray[np.int32]:
        """Positions of the ads that a clause names, in no order, perhaps more than once."""
        if isinstance(clause, Within):
            lower, upper = bounds(self.encoder, "item", clause)
            inverted = self._of(clause.field)
            start = np.searchsorted(inverted.values, np.float32(lower), side="left")
            return inverted.positions[start : np.searchsorted(inverted.values, np.float32(upper), side="right")]
        if not clause.values:
            return np.empty(0, np.int32)
        keys = np.array(clause.values)
        if clause.field == ITEM_ID:
            rows = look_up(self.encoder.item_ids, keys)
            return self.tree.position_of_row[rows[rows >= 0]]
        inverted, ids = self._of(clause.field), self.encoder.encode_values("item", clause.field, keys)
        ids = ids[ids != UNKNOWN]
        starts = np.searchsorted(inverted.values, ids, side="left")
        ends = np.searchsorted(inverted.values, ids, side="right")
        return inverted.positions[expand_ranges(starts, ends - starts)]

    def _of(self, name: str) -> _Inverted:
        if name not in self._inverted:  # two threads may both build it, and get the same
            self._inverted[name] = self._invert(name)
        return self._inverted[name]

    def _invert(self, name: str) -> _Inverted:
        dense, position = self.encoder.spec.fields("item", "dense"), self.tree.position_of_row
        if name in dense:
            return _Inverted.of(self.items.dense[:, dense.index(name)], position)
        lists = item_keys(self.encoder.spec, self.items, name)
        return _Inverted.of(lists.values, np.repeat(position, lists.lengths))
