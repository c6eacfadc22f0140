"""Caps: of the items returned, only so many may share a value of a categorical field.

The items are walked best first, and each is taken unless as many were taken before it that share its value of a capped
field. With one cap nothing ranks better that keeps it, and nothing is longer; with several this walk is the definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.declaration.values import FeatureError
from index_store.features.encoder import Features


@dataclass(frozen=True, eq=False)
class Cap:
    """One cap. Items without a value, or with one that the bundle has never seen, share one: UNKNOWN.

    Attributes:
        name: field or role, as the request names it.
        most: items of one value that may be returned, >= 1.
        of_tree: (n_items,) int32 values of the tree's items, by row.
        of_added: (J,) int32 values of those beyond it.
    """

    name: str
    most: int
    of_tree: NDArray[np.int32]
    of_added: NDArray[np.int32]

    def values(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Of items at rows (C,): (C,) int32."""
        n = len(self.of_tree)
        if not len(self.of_added):
            return self.of_tree[rows]
        return np.where(rows < n, self.of_tree[np.minimum(rows, n - 1)], self.of_added[np.maximum(rows - n, 0)])


@dataclass(frozen=True, eq=False)
class Caps:
    """The caps of one request, at least one; all hold."""

    caps: tuple[Cap, ...]

    @classmethod
    def of(cls, spec: FeatureSpec, max_per: Mapping[str, int], items: Features, added: Features | None) -> Caps:
        """Caps of fields or roles.

        Args:
            spec: the declaration.
            max_per: name -> most.
            items: of the bundle, by row.
            added: of the items beyond the tree; None if there are none.

        Raises:
            FeatureError: a name is neither a categorical item field nor a role that one has.
        """
        columns = _columns(spec, max_per)
        return cls(tuple(
            Cap(name, most, items.categorical[:, column],
                np.empty(0, np.int32) if added is None else added.categorical[:, column])
            for (name, most), column in zip(max_per.items(), columns, strict=True)))

    def passed(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the items at rows (C,), best first, the walk takes: (C,) bool."""
        grouped = [(cap.most, *_groups(cap.values(rows))) for cap in self.caps]
        passed = np.ones(len(rows), np.bool_)
        while True:  # who is taken depends on those before alone: each round settles at least one more
            after = np.ones(len(rows), np.bool_)
            for most, order, first in grouped:
                taken = passed[order]
                before: NDArray[np.int64] = np.cumsum(taken) - taken
                after[order] &= before - before[first] < most
            if np.array_equal(after, passed):
                return passed
            passed = after

    def open(self, rows: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the items at rows (C,) could be taken beside those at other rows (K,): (C,) bool."""
        free = ~np.isin(rows, taken)
        for cap in self.caps:
            values, counts = np.unique(cap.values(taken), return_counts=True)
            free &= ~np.isin(cap.values(rows), values[counts >= cap.most])
        return free

    def holding(self, row: int, above: NDArray[np.int64]) -> str | None:
        """The name of the first cap that items at rows (K,) use up for the item at `row`; None if none is."""
        for cap in self.caps:
            if np.count_nonzero(cap.values(above) == cap.values(np.array([row]))) >= cap.most:
                return cap.name
        return None


def check_max_per(spec: FeatureSpec, max_per: Mapping[str, int]) -> None:
    """Raises FeatureError if a name is neither a categorical item field nor a role that one has."""
    _columns(spec, max_per)


def _columns(spec: FeatureSpec, max_per: Mapping[str, int]) -> list[int]:
    """Columns of the categorical item fields that are capped."""
    categorical, kinds = spec.fields("item", "categorical"), {f.name: f.kind for f in spec.item_fields}
    columns = []
    for name, most in max_per.items():
        field = name if name in kinds else spec.roles.get(name, name)
        if field not in categorical:
            what = f"a {kinds[field]} ad field" if field in kinds else "neither an ad field nor a role of one"
            raise FeatureError("max_per", f"max_per caps {name!r} at {most}, but that is {what}",
                               f"cap some of {', '.join([*categorical, *spec.roles]) or '(nothing can be capped)'}")
        columns.append(categorical.index(field))
    return columns


def _groups(values: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (C,) that sort values and keep equal ones in order; for each place then, the first of its value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.ones(len(values), np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return order, np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))
