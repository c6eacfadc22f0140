"""Your own log: a folder of Parquet files and `features.json`, checked and brought into the normal form.

Beside the normal types it takes integers for ids and values, integers for dense fields, booleans and integers of any
width for labels, and Arrow timestamps. Everything else is refused with file, column, row and value.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from index_store.features.encoder import FeatureSpec
from model.data.checks import (
    check_dense,
    check_keys,
    check_labels,
    check_lists,
    check_numbers,
    check_unique,
    open_parquet,
    require_columns,
)
from model.data.load import rows_of
from model.data.tables import (
    EVENTS,
    ID_COLUMN,
    TABLE,
    TARGETING,
    TEST_EVENTS,
    DataError,
    Side,
    event_schema,
    prepare,
    read_spec,
    seal,
    side_schema,
)
from model.data.targeting import read_predicates

BATCH = 1 << 20


def write(source: Path, out: Path) -> None:
    """Checks `users`, `ads`, `events` and, if there, `test_events` of the source folder, and writes them to `out`.

    An error leaves no usable data folder behind.

    Raises:
        DataError: the first thing that is wrong.
    """
    spec = read_spec(source)
    prepare(out)
    ids: dict[Side, pa.Array] = {"user": _write_side(source, out, spec, "user"),
                                 "item": _write_side(source, out, spec, "item")}
    _write_events(source, out, spec, EVENTS, ids)
    if (source / TEST_EVENTS).exists():
        _write_events(source, out, spec, TEST_EVENTS, ids)
    seal(out, spec)


def _write_side(source: Path, out: Path, spec: FeatureSpec, side: Side) -> pa.Array:
    """Checks and writes one table, and returns its ids."""
    path = source / TABLE[side]
    file = open_parquet(path)
    schema = side_schema(spec, side, targeting=side == "item" and TARGETING in file.schema_arrow.names)
    require_columns(path, file.schema_arrow, schema)
    columns: list[pa.Array] = []
    for field in tqdm(schema, desc=TABLE[side], unit="column"):
        column = file.read(columns=[field.name]).column(0).combine_chunks()
        column = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
        column = _normal(path, field.name, column, field.type)
        if field.name == ID_COLUMN[side]:
            check_keys(path, field.name, column, nullable=False)
            check_unique(path, field.name, column)
        elif pa.types.is_floating(field.type):
            check_dense(path, field.name, column)
            column = column.cast(pa.float32())
        elif pa.types.is_list(field.type):
            check_lists(path, field.name, column)
        elif field.name == TARGETING:
            read_predicates(path, columns[0], column, spec)
        else:
            check_keys(path, field.name, column, nullable=True)
        columns.append(column)
    pq.write_table(pa.table(columns, schema=schema), out / TABLE[side])
    return columns[0]


def _write_events(source: Path, out: Path, spec: FeatureSpec, name: str, ids: dict[Side, pa.Array]) -> None:
    """Checks and writes one event file, a batch at a time."""
    path, schema = source / name, event_schema(spec)
    file = open_parquet(path)
    require_columns(path, file.schema_arrow, schema)
    row = 0
    with (pq.ParquetWriter(out / name, schema) as writer,
          tqdm(total=file.metadata.num_rows, desc=name, unit="event", unit_scale=True) as bar):
        for batch in file.iter_batches(BATCH, columns=schema.names):
            columns = {f.name: _normal(path, f.name, batch.column(f.name), f.type) for f in schema}
            for side, column in ID_COLUMN.items():
                rows_of(path, column, columns[column], ids[side], TABLE[side], row)
            for column in schema.names[2:]:
                check_numbers(path, column, columns[column], row)
            labels = np.stack([columns[task.name].to_numpy(zero_copy_only=False) for task in spec.tasks], axis=1)
            check_labels(path, spec, labels, row)
            writer.write_table(pa.table([columns[f.name].cast(f.type) for f in schema], schema=schema))
            row += len(batch)
            bar.update(len(batch))
    if not row:
        raise DataError(f"{path} holds no event; a log needs at least one")


def _normal(path: Path, name: str, column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The column in the format's type; numbers stay wide until their values are checked.

    Raises:
        DataError: its type is none that stands for the wanted one, or a number fits no 64 bits.
    """
    found = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(found):  # nothing but nulls, as pandas writes it
        return column.cast(wanted)
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        if is_list and _is_value(found.value_type):
            return column.cast(wanted)
    elif pa.types.is_string(wanted):
        if _is_value(found):
            return column.cast(wanted)
    elif pa.types.is_floating(wanted):
        if pa.types.is_floating(found) or pa.types.is_integer(found):
            return column.cast(pa.float64(), safe=False)
    elif name == "timestamp" and pa.types.is_timestamp(found):
        return column.cast(pa.timestamp("s", tz=found.tz), safe=False).cast(pa.int64())
    elif pa.types.is_integer(found) or pa.types.is_boolean(found):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}: column {name!r}: {error}; give numbers of 64 bits") from error
    raise DataError(f"{path}: column {name!r} has type {found}, which does not stand for {wanted}; convert it "
                    "(docs/data.md lists the types)")


def _is_value(found: pa.DataType) -> bool:
    """Whether ids and categorical values may have this type."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_integer(found))
