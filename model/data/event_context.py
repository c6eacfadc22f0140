"""Context of events: the columns that the model reads, as ids of vocabularies fitted on the train events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.features.encoder import UNKNOWN
from model.data.tables import EVENTS, DataError


class ContextValues:
    """The distinct values of the C context fields that the model reads.

    Args:
        spec: declares them.

    Attributes:
        values: of each field, distinct strings; the index of a value + 1 is its id.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._fields = spec.model_context
        self.values = [pa.array([], pa.string()) for _ in self._fields]

    def learn(self, columns: Mapping[str, pa.Array]) -> NDArray[np.int32]:
        """Takes in the values of some events, and returns their ids (N, C) until `sort`."""
        for at, field in enumerate(self._fields):
            found = pc.unique(columns[field.name]).drop_null()
            new = found.filter(pc.invert(pc.is_in(found, value_set=self.values[at])))
            self.values[at] = pa.concat_arrays([self.values[at], new])
        return self.ids(columns)

    def ids(self, columns: Mapping[str, pa.Array]) -> NDArray[np.int32]:
        """Ids (N, C) of N events; UNKNOWN for null and for a value that was not learned."""
        rows = len(columns["user_id"])
        found = [pc.fill_null(pc.add(pc.index_in(columns[field.name], value_set=values), 1), UNKNOWN).to_numpy()
                 for field, values in zip(self._fields, self.values, strict=True)]
        return np.stack(found, axis=1).astype(np.int32) if found else np.empty((rows, 0), np.int32)

    def sort(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Sorts the values as bytes, and returns the new ids of old ones (N, C)."""
        for at, values in enumerate(self.values):
            order = pc.array_sort_indices(values.cast(pa.binary())).to_numpy()
            rank = np.zeros(len(order) + 1, np.int32)
            rank[order + 1] = np.arange(1, len(order) + 1)
            self.values[at] = values.take(pa.array(order))
            ids[:, at] = rank[ids[:, at]]
        return ids

    def check(self, folder: Path) -> None:
        """Raises DataError if no event has the value that a field is to be served as."""
        for field, values in zip(self._fields, self.values, strict=True):
            if field.serve_as and not pc.is_in(pa.scalar(field.serve_as), value_set=values).as_py():
                shown = sorted(values.to_pylist())[:10]
                raise DataError(f"{folder}: features.json says to serve {field.name} as {field.serve_as!r}, but no row "
                                f"of {EVENTS} has this value; use one that has, such as {', '.join(shown) or 'none'}")
