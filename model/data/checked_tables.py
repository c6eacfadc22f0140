"""The users, ads and events of a folder, checked while they are read.

`data parquet` writes what it reads here, and `load_dataset` encodes it, so that both refuse the same values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from model.data.checks import (
    check_dense,
    check_keys,
    check_label_times,
    check_labels,
    check_lists,
    check_numbers,
    check_unique,
    rows_of,
)
from model.data.parquet_table import ParquetTable, common_clock, has_column
from model.data.tables import (
    AD_EXTRAS,
    ADS,
    EVENTS,
    TABLE,
    TEST_EVENTS,
    USERS,
    DataError,
    Side,
    event_schema,
    side_schema,
)


@dataclass(frozen=True)
class SideTable:
    """`users.parquet` or `ads.parquet` of a folder, opened.

    Attributes:
        table: its columns as text and numbers.
        schema: id, fields in the order of the declaration, and those of AD_EXTRAS that the ads have.
        spec: declares the fields.
    """

    table: ParquetTable
    schema: pa.Schema
    spec: FeatureSpec

    @classmethod
    def open(cls, folder: Path, spec: FeatureSpec, side: Side) -> SideTable:
        """Opens one side of a folder.

        Raises:
            DataError: the table or a column is missing, or it is not Parquet.
        """
        path = folder / TABLE[side]
        extras = [name for name in AD_EXTRAS if side == "item" and has_column(path, name)]
        schema = side_schema(spec, side, extras)
        return cls(ParquetTable(path, schema.names, optional=extras), schema, spec)

    def columns(self) -> Iterator[tuple[pa.Field, pa.Array]]:
        """The columns in the order of the schema, checked; dense ones are float64. AD_EXTRAS are not checked.

        Raises:
            DataError: a value is not what the format wants.
        """
        id_column, *fields = self.schema
        optional = {f.name for f in (*self.spec.user_fields, *self.spec.item_fields) if f.optional}
        ids = self.table.column(id_column)
        if not len(ids):
            raise DataError(f"{self.table.path} holds no row; at least one is needed")
        check_keys(self.table, id_column.name, ids, nullable=False)
        check_unique(self.table, id_column.name, ids)
        yield id_column, ids
        for field in fields:
            column = self.table.column(field)
            if field.name in AD_EXTRAS:
                pass
            elif pa.types.is_floating(field.type):
                check_dense(self.table, field.name, column, optional=field.name in optional)
            elif pa.types.is_list(field.type):
                check_lists(self.table, field.name, column)
            else:
                check_keys(self.table, field.name, column, nullable=True)
            yield field, column


@dataclass(frozen=True)
class EventBatch:
    """Some events.

    Attributes:
        columns: by name, in the types of the format; labels of another type than int8 are int64.
        users, items: (N,) int32 rows in the tables of users and ads.
        labels: (N, T) int8 or int64 of 0 and 1.
    """

    columns: dict[str, pa.Array]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    labels: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class EventTable:
    """`events.parquet` or `test_events.parquet` of a folder, opened.

    Attributes:
        table: its columns.
        schema: of the format; `timestamp` has the type that all event tables of the folder share.
        spec: declares the tasks.
    """

    table: ParquetTable
    schema: pa.Schema
    spec: FeatureSpec

    def batches(self, user_ids: pa.Array, item_ids: pa.Array, size: int) -> Iterator[EventBatch]:
        """The events in their order, checked, `size` at a time.

        Args:
            user_ids, item_ids: string arrays; the index of an id is its row.
            size: most events of a batch.

        Raises:
            DataError: the table is empty or a value is not what the format wants.
        """
        if not self.table.rows:
            raise DataError(f"{self.table.path} holds no event; a log needs at least one")
        for row, columns in self.table.batches(self.schema, size):
            users = rows_of(self.table, "user_id", columns["user_id"], user_ids, USERS, row)
            items = rows_of(self.table, "ad_id", columns["ad_id"], item_ids, ADS, row)
            for name in ("timestamp", *(task.name for task in self.spec.tasks)):
                check_numbers(self.table, name, columns[name], row)
            for field in self.spec.model_context:
                check_keys(self.table, field.name, columns[field.name], nullable=True,
                           rows=np.arange(row, row + len(users)))
            labels = np.stack([columns[task.name].to_numpy() for task in self.spec.tasks], axis=1)
            check_labels(self.table, self.spec, labels, row)
            for at, task in enumerate(self.spec.tasks):
                if task.windows:
                    check_label_times(self.table, task, labels[:, at], columns[task.time], columns["timestamp"], row)
            yield EventBatch(columns, users, items, labels)


def open_events(folder: Path, spec: FeatureSpec) -> tuple[EventTable, EventTable | None]:
    """The train events of a folder, and its test events or None if it has none, on one clock.

    Raises:
        DataError: a table or column is missing, it is not Parquet, or their timestamps cannot be compared.
    """
    names = event_schema(spec).names
    paths = [path for path in (folder / EVENTS, folder / TEST_EVENTS) if path.name == EVENTS or path.exists()]
    tables = [ParquetTable(path, names) for path in paths]
    schema = event_schema(spec, common_clock(tables))
    train, *test = (EventTable(table, schema, spec) for table in tables)
    return train, test[0] if test and test[0].table.rows else None
