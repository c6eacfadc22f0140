"""Ad filter: evaluates a request's `targeting`, a predicate over ad fields, for all ads at once.

Each field that a request names is indexed once: its positions sorted by value. A clause then costs time in proportion
to its matches, a connective one pass over packed bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import ITEM_ID
from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features
from index_store.features.ragged import expand_ranges
from index_store.features.tower_inputs import item_keys
from index_store.targeting.attributes import encoded_bounds
from index_store.targeting.eligibility import PositionBitmap
from index_store.targeting.predicates import AllOf, AnyOf, Clause, Near, Not, OneOf, Predicate, Within


@dataclass(frozen=True)
class _FieldIndex:
    """Positions (M,) int32 of one field's values, sorted by value (M,)."""

    values: NDArray[Any]
    positions: NDArray[np.integer]

    @classmethod
    def of(cls, values: NDArray[Any], positions: NDArray[np.integer]) -> _FieldIndex:
        if values.dtype.kind == "i" and int(values.max(initial=0)) < 1 << 16:
            order = np.argsort(values.astype(np.uint16), kind="stable")  # numpy sorts 16 bits by radix
        else:
            order = np.argsort(values)
        return cls(values[order], positions[order])


@dataclass(frozen=True)
class AdFilter:
    """Finds the positions whose ads a predicate accepts. Threads may share it.

    Attributes:
        items: encoded features by item row.
        positions: (n_items,) position of each row, of 0 .. n_items - 1.
        rows_of: rows of ids (N,), -1 for one that there is not.
    """

    encoder: FeatureEncoder
    items: Features
    positions: NDArray[np.integer]
    rows_of: Callable[[NDArray[np.bytes_]], NDArray[np.int64]]
    _indexes: dict[str, _FieldIndex] = field(default_factory=dict, repr=False, compare=False)

    def bitmap(self, predicate: Predicate) -> PositionBitmap:
        """Positions of the ads for which the predicate holds."""
        match predicate:
            case Not(part):
                return ~self.bitmap(part)
            case AllOf(parts):
                found = PositionBitmap.full(len(self.positions))
                for part in parts:
                    found &= self.bitmap(part)
                return found
            case AnyOf(parts):
                found = ~PositionBitmap.full(len(self.positions))
                for part in parts:
                    found |= self.bitmap(part)
                return found
            case OneOf() | Within() | Near():
                flags = np.zeros(len(self.positions), np.bool_)
                flags[self._matches(predicate)] = True
                return PositionBitmap.of(flags)

    def holds(self, clause: Clause, position: int) -> bool:
        """Whether a clause holds for the ad at one position, for explanations."""
        return bool((self._matches(clause) == position).any())

    def _matches(self, clause: Clause) -> NDArray[np.integer]:
        """Positions of the ads for which a clause holds, in any order and possibly repeated."""
        if isinstance(clause, Within):
            lower, upper = encoded_bounds(self.encoder, "item", clause)
            index = self._index(clause.field)
            start = np.searchsorted(index.values, np.float32(lower), side="left")
            return index.positions[start : np.searchsorted(index.values, np.float32(upper), side="right")]
        assert isinstance(clause, OneOf), "ads have no field of kind location"
        if not clause.values:
            return np.empty(0, np.int32)
        keys = np.array(clause.values)
        if clause.field == ITEM_ID:
            rows = self.rows_of(keys)
            return self.positions[rows[rows >= 0]]
        index, ids = self._index(clause.field), self.encoder.encode_values("item", clause.field, keys)
        ids = ids[ids != UNKNOWN]
        starts = np.searchsorted(index.values, ids, side="left")
        ends = np.searchsorted(index.values, ids, side="right")
        return index.positions[expand_ranges(starts, ends - starts)]

    def _index(self, name: str) -> _FieldIndex:
        if name not in self._indexes:  # two threads may both build it, and get the same
            self._indexes[name] = self._build(name)
        return self._indexes[name]

    def _build(self, name: str) -> _FieldIndex:
        dense, position = self.encoder.spec.fields("item", "dense"), self.positions
        if name in dense:
            values = self.items.dense[:, dense.index(name)]
            known = ~np.isnan(values)
            return _FieldIndex.of(values[known], position[known])
        lists = item_keys(self.encoder.spec, self.items, name)
        return _FieldIndex.of(lists.values, np.repeat(position, lists.lengths))
