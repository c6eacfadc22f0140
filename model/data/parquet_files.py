"""Parquet files of a table: a single one, or the part files of a folder, with errors that name damaged pages.

A folder has the form that Spark, Dask or Hive write: part files, `_SUCCESS` and other names that begin with `_` or `.`,
and `key=value` folders whose keys are columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from index_store.declaration.nearest import suggestion
from model.data.tables import DataError

READ_ERRORS = (OSError, pa.ArrowException)

_STRAY = "write it again or, if it is not part of the table, remove it from the folder or let its name begin with _"

_MISSING = {"user_id": "give the column of user ids this name", "ad_id": "give the column of ad ids this name",
            "timestamp": "add it, 0 throughout if the log has no times"}


@dataclass(frozen=True)
class Part:
    """One file of a table.

    Attributes:
        path: of the file.
        rows: in the file.
        schema: its columns.
        keys: columns with one value throughout: those in the names of its folders, and absent optional ones, all null.
        int96: columns of times in the old type INT96.
    """

    path: Path
    rows: int
    schema: pa.Schema
    keys: Mapping[str, str | None]
    int96: frozenset[str] = frozenset()

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column's values, whether or not they are dictionary-encoded; a folder's key is a string."""
        if name not in self.schema.names:
            return pa.string()
        found = self.schema.field(name).type
        return found.value_type if pa.types.is_dictionary(found) else found


def refuse(path: Path, column: str, row: int, value: object, fact: str, remedy: str) -> NoReturn:
    """Raises the DataError for one bad value in a file."""
    raise DataError(f"{path}: column {column!r}, row {row}: value {value!r:.80} {fact}; {remedy}")


def open_parquet(path: Path, *, int96_unit: str = "ns", text: pa.DataType | None = None,
                 remedy: str = "write it again") -> pq.ParquetFile:
    """Opens one Parquet file; page checksums are verified where the writer stored any.

    Args:
        path: of the file.
        int96_unit: that times of the old type INT96 are read in.
        text: type that text columns are read in instead of their own.
        remedy: said where it is not Parquet.

    Raises:
        DataError: it does not exist or is not Parquet.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; a data folder needs it (docs/data.md)")
    try:
        return pq.ParquetFile(path, page_checksum_verification=True, coerce_int96_timestamp_unit=int96_unit,
                              binary_type=text)
    except READ_ERRORS as error:
        raise DataError(f"{path} is not a Parquet file: {one_line(error)}; {remedy}") from error


def open_parts(path: Path, columns: Sequence[str]) -> list[Part]:
    """Reads the footers of a table's files, in the order of their paths.

    Args:
        path: of the file or folder.
        columns: that the names of folders may give.

    Raises:
        DataError: there is no such file or folder, or a file is not Parquet.
    """
    remedy = _STRAY if path.is_dir() else "write it again"
    return [_open_part(file, keys, remedy) for file, keys in part_files(path, columns)]


def part_files(path: Path, columns: Sequence[str]) -> list[tuple[Path, dict[str, str | None]]]:
    """The files of a table, by path, each with the values of the columns that its folders name."""
    if not path.is_dir():
        return [(path, {})]
    # Values stay text, so that the id 007 is not read as 7.
    keys = ds.partitioning(pa.schema([(name, pa.string()) for name in columns]), flavor="hive")
    try:
        found = ds.dataset(path, format="parquet", partitioning=keys, schema=pa.schema([]))
        parts = [(Path(part.path), ds.get_partition_keys(part.partition_expression))
                 for part in found.get_fragments()]
    except READ_ERRORS as error:
        raise DataError(f"{path} cannot be read as a folder of Parquet files: {one_line(error)}; write it "
                        "again") from error
    if not parts:
        raise DataError(f"{path} is a folder without Parquet files; write the table again")
    return sorted(parts, key=lambda part: part[0])


def _open_part(path: Path, keys: Mapping[str, str | None], remedy: str) -> Part:
    """Reads the footer of one file; its own columns take precedence over those that its folders name."""
    with open_parquet(path, remedy=remedy) as file:
        own = {name: value for name, value in keys.items() if name not in file.schema_arrow.names}
        old = frozenset(column.name for column in file.schema if column.physical_type == "INT96")
        return Part(path, file.metadata.num_rows, file.schema_arrow, own, old)


def require(part: Part, columns: Sequence[str], optional: Sequence[str]) -> Part:
    """Refuses a file that lacks a column or has it twice; returns it with nulls for the optional columns it lacks."""
    found = [*part.schema.names, *part.keys]
    for name in columns:
        if name not in found and name not in optional:
            remedy = _MISSING.get(name, "add it, or take it out of features.json")
            raise DataError(f"{part.path}: column {name!r} is missing, the file has {found}; "
                            f"{suggestion(name, found)}{remedy}")
        if found.count(name) > 1:
            raise DataError(f"{part.path}: column {name!r} appears twice; keep one")
    return replace(part, keys={**part.keys, **dict.fromkeys(name for name in columns if name not in found)})


def read_columns(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Reads columns of an open file.

    Raises:
        DataError: a page is damaged; names the column.
    """
    try:
        return file.read(columns=list(columns))
    except READ_ERRORS as error:
        raise damage(path, file, columns, error) from error


def damage(path: Path, file: pq.ParquetFile, columns: Sequence[str], error: Exception) -> DataError:
    """The error for pages that cannot be decoded, naming the first column that has any.

    Raises:
        DataError: the pages are sound, but hold text that is not UTF-8.
    """
    for name in columns:
        try:
            file.read(columns=[name])
        except READ_ERRORS as of_column:
            if "UTF8" in str(of_column):
                _refuse_text(path, name)
            return DataError(f"{path}: column {name!r} cannot be read: {one_line(of_column)}; the file is damaged: "
                             "write it again")
    return DataError(f"{path} cannot be read: {one_line(error)}; the file is damaged: write it again")


def _refuse_text(path: Path, column: str) -> None:
    """Refuses the first text of a column that is not UTF-8.

    pyarrow fails on the whole of a dictionary-encoded column with such a value, unless it is told to read plain values.
    """
    with open_parquet(path, text=pa.large_binary()) as file:
        row = 0
        for chunk in file.read(columns=[column]).column(0).chunks:
            check_utf8(path, column, chunk, row)
            row += len(chunk)


def check_utf8(path: Path, name: str, column: pa.Array, first_row: int) -> None:
    """Refuses text that is not UTF-8, which Parquet files may hold although their schema promises text."""
    try:
        column.validate(full=True)
        return
    except pa.ArrowInvalid as error:
        fault = error
    texts = pc.list_flatten(column) if is_list(column.type) else column
    for at, raw in enumerate(texts.cast(pa.large_binary())):
        try:
            (raw.as_py() or b"").decode()
        except UnicodeDecodeError:
            row = pc.list_parent_indices(column)[at].as_py() if is_list(column.type) else at
            refuse(path, name, first_row + row, raw.as_py(), "is not UTF-8", "write it as UTF-8")
    raise DataError(f"{path}: column {name!r} cannot be read: {one_line(fault)}; the file is damaged: write it again")


def is_list(found: pa.DataType) -> bool:
    """Whether a column of this type can stand for lists."""
    return bool(pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found))


def one_line(error: Exception) -> str:
    """The text of an error, which may have several lines, as one line."""
    return " ".join(str(error).split())
