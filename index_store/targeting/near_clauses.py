"""Near clauses: all geographic clauses of a predicate program, evaluated for one request at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from index_store.targeting.geography import LARGEST_KM, Position, haversine_of, haversines, unit_vectors
from index_store.targeting.predicates import Near


@dataclass(frozen=True)
class NearClauses:
    """G clauses about positions, each with the circles that it names.

    Attributes:
        fields: names of the fields that they read.
        field_of: (G,) int32 index into `fields`.
        outside: (G,) bool; a clause holds outside of all its circles, not within one of them.
        starts: (G + 1,) int64 first circle of each clause, and the end of the last.
        circles: (C, 3) float64 latitude and longitude in degrees, radius in km.
    """

    fields: tuple[str, ...]
    field_of: NDArray[np.int32]
    outside: NDArray[np.bool_]
    starts: NDArray[np.int64]
    circles: NDArray[np.float64]

    @classmethod
    def of(cls, clauses: Sequence[Near]) -> NearClauses:
        """Lays out distinct clauses, in their order."""
        fields = sorted({clause.field for clause in clauses})
        return cls(tuple(fields), np.array([fields.index(clause.field) for clause in clauses], np.int32),
                   np.array([clause.outside for clause in clauses], np.bool_),
                   np.cumsum([0, *(len(clause.circles) for clause in clauses)], dtype=np.int64),
                   np.array([circle for clause in clauses for circle in clause.circles], np.float64).reshape(-1, 3))

    def __len__(self) -> int:
        return len(self.field_of)

    def misfit(self) -> str | None:
        """What does not fit in these arrays; None if all does."""
        if len(self) and not 0 <= self.field_of.min() <= self.field_of.max() < len(self.fields):
            return f"read fields {self.field_of.min()} to {self.field_of.max()}, there are {len(self.fields)}"
        if len(self.outside) != len(self) or len(self.starts) != len(self) + 1:
            return f"are {len(self)}, with {len(self.outside)} sides and {len(self.starts)} starts"
        if self.starts[0] != 0 or self.starts[-1] != len(self.circles) or (np.diff(self.starts) < 1).any():
            return f"do not have one or more each of the {len(self.circles)} circles"
        if not (np.abs(self.circles) <= (90, 180, LARGEST_KM)).all():  # NaN is not
            return "have a circle that lies outside the globe"
        return None

    def truth(self, attributes: Mapping[str, object]) -> NDArray[np.bool_]:
        """Which clauses hold: (G,) bool. A clause about a missing position does not, whichever its side."""
        holds = np.zeros(len(self), np.bool_)
        for at, field in enumerate(self.fields):
            position = attributes.get(field)
            if isinstance(position, Position):
                within = np.logical_or.reduceat(haversines(self._centres, position) <= self._limits, self.starts[:-1])
                holds |= (within != self.outside) & (self.field_of == at)
        return holds

    @cached_property
    def _centres(self) -> NDArray[np.float64]:
        return unit_vectors(self.circles[:, 0], self.circles[:, 1])

    @cached_property
    def _limits(self) -> NDArray[np.float64]:
        return haversine_of(self.circles[:, 2])


NO_CLAUSES = NearClauses.of(())
