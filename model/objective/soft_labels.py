"""Columns of a teacher's file: ids, and a probability for each task."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from model.data.parquet_table import ParquetTable
from model.data.tables import DataError


def soft_label_schema(spec: FeatureSpec, clock: pa.DataType | None = None) -> pa.Schema:
    """Columns of a teacher's file; with a clock, the type of its timestamps, of one that labels impressions."""
    times = [] if clock is None else [pa.field("timestamp", clock)]
    return pa.schema([("user_id", pa.string()), ("ad_id", pa.string()), *times,
                      *((task.name, pa.float32()) for task in spec.tasks)])


def probabilities(table: ParquetTable, spec: FeatureSpec) -> NDArray[np.float32]:
    """The soft labels (N, tasks) of a file.

    Raises:
        DataError: it has no row, or a value is not a probability.
    """
    if not table.rows:
        raise DataError(f"{table.path} holds no pair; a teacher needs at least one")
    values = np.empty((table.rows, len(spec.tasks)), np.float32)
    for at, task in enumerate(spec.tasks):
        column = table.column(pa.field(task.name, pa.float32()))
        bad = pc.or_kleene(pc.is_null(column, nan_is_null=True), pc.or_(pc.less(column, 0), pc.greater(column, 1)))
        row = pc.index(bad, True).as_py()
        if row >= 0:
            table.refuse(task.name, row, column[row].as_py(), "is not a probability", "give a number from 0 to 1")
        values[:, at] = column.to_numpy()
    return values
