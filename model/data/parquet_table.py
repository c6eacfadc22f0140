"""A Parquet table, one file or a folder of part files, read column by column or in batches in the format's types.

Rows count from 0 through the part files in the order of their paths; errors name the part file and the row within it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.data.column_types import normal
from model.data.parquet_files import (
    READ_ERRORS,
    Part,
    damage,
    open_parquet,
    open_parts,
    read_columns,
    refuse,
    require,
)
from model.data.tables import DataError

UNITS = ("s", "ms", "us", "ns")
NAIVE = "timestamps without a time zone"


class ParquetTable:
    """A Parquet file, or a folder of them that is read as one table.

    Args:
        path: of the file or folder.
        columns: the columns to read.
        optional: those of them that are null in part files without them.

    Raises:
        DataError: there is no such file or folder, a file is not Parquet, or a column is missing or there twice.
    """

    def __init__(self, path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> None:
        self.path = path
        self.parts = [require(part, columns, optional) for part in open_parts(path, columns)]
        self._ends = list(accumulate(part.rows for part in self.parts))
        self.rows = self._ends[-1]

    def column(self, field: pa.Field) -> pa.Array:
        """A whole column in the type of `field`; dense values come as float64, labels as int8 or int64."""
        chunks = []
        for part in self.parts:
            with open_parquet(part.path) as file:
                chunks.append(normal(part, field, _read(part, file, field.name)))
        return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)

    def batches(self, schema: pa.Schema, size: int) -> Iterator[tuple[int, dict[str, pa.Array]]]:
        """Batches of at most `size` rows: the first row's number in the table, and the columns as in `column`."""
        row = 0
        for part in self.parts:
            physical = [name for name in schema.names if name not in part.keys]
            with open_parquet(part.path) as file:
                batches, start = file.iter_batches(size, columns=physical), 0
                while start < part.rows:
                    try:
                        batch = next(batches)
                    except READ_ERRORS as error:
                        raise damage(part.path, file, physical, error) from error
                    columns = {name: batch.column(name) for name in physical}
                    columns |= {name: _repeated(value, len(batch)) for name, value in part.keys.items()}
                    yield row, {f.name: normal(part, f, columns[f.name], start) for f in schema}
                    start, row = start + len(batch), row + len(batch)

    def refuse(self, column: str, row: int, value: object, fact: str, remedy: str) -> NoReturn:
        """Raises the DataError for one bad value; `row` counts through the whole table."""
        part, within = self._locate(row)
        refuse(part.path, column, within, value, fact, remedy)

    def place(self, row: int) -> str:
        """A row as messages name it: `row 3`, with the part file if there are several."""
        part, within = self._locate(row)
        return f"row {within}" if len(self.parts) == 1 else f"row {within} of {part.path}"

    def _locate(self, row: int) -> tuple[Part, int]:
        """The part that holds a row of the table, and the row's number in it."""
        at = bisect_right(self._ends, row)
        return self.parts[at], row - (self._ends[at] - self.parts[at].rows)


def common_clock(tables: Sequence[ParquetTable]) -> pa.DataType:
    """The type that keeps every timestamp of some event tables: int64, or an Arrow timestamp of the finest unit.

    Raises:
        DataError: integers and timestamps, or timestamps with and without a time zone, cannot be compared; or the type
            is neither.
    """
    clocks: dict[str, Path] = {}
    units = []
    for part in (part for table in tables for part in table.parts):
        found = part.type_of("timestamp")
        if pa.types.is_date(found):
            raise DataError(f"{part.path}: column 'timestamp' has type {found}, which leaves the order within a day "
                            "open; give timestamps, or integers such as the day's number if that order does not matter")
        if pa.types.is_timestamp(found):
            units.append(found.unit)
            clocks.setdefault(NAIVE if found.tz is None else "timestamps with a time zone", part.path)
        elif pa.types.is_integer(found) or "timestamp" in part.keys:
            clocks.setdefault("integers", part.path)
        if "timestamp" in part.int96:
            _check_int96(part)
    if len(clocks) > 1:
        (one, first), (other, second) = list(clocks.items())[:2]
        raise DataError(f"{second}: column 'timestamp' holds {other}, but {first} holds {one}, and the two cannot be "
                        "compared; write both in one type")
    if not units:
        return pa.int64()
    return pa.timestamp(max(units, key=UNITS.index), None if NAIVE in clocks else "UTC")


def has_column(path: Path, name: str) -> bool:
    """Whether any file of a table has a column.

    Raises:
        DataError: as for `ParquetTable`.
    """
    return any(name in part.schema.names for part in open_parts(path, []))


def _read(part: Part, file: pq.ParquetFile, name: str) -> pa.Array:
    if name in part.keys:
        return _repeated(part.keys[name], part.rows)
    return whole(read_columns(part.path, file, [name]).column(0))


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    joined = column.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)


def _repeated(value: str | None, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), rows)


def _check_int96(part: Part) -> None:
    """Refuses times of the old type INT96 beyond the years 1677 to 2262, which wrap around in nanoseconds."""
    nanoseconds, microseconds = (_int96(part.path, unit) for unit in ("ns", "us"))
    wrong = np.flatnonzero(nanoseconds // 1000 != microseconds)
    if len(wrong):
        row = int(wrong[0])
        refuse(part.path, "timestamp", row, str(np.datetime64(int(microseconds[row]), "us")),
               "does not fit nanoseconds in 64 bits", "drop the row, or write timestamps of another type than INT96")


def _int96(path: Path, unit: str) -> NDArray[np.int64]:
    with open_parquet(path, int96_unit=unit) as file:
        times = whole(read_columns(path, file, ["timestamp"]).column(0)).cast(pa.int64())
    counted: NDArray[np.int64] = times.fill_null(0).to_numpy()
    return counted
