"""What the values of a data folder must be. Every refusal names file, column, row and value, and says what to do.

Rows count from 0 in the order of the file. Knows nothing of encodings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index_store.features.encoder import FeatureSpec
from index_store.features.values import MAX_ID_BYTES
from model.data.tables import DataError

LARGEST_FLOAT = float(np.finfo(np.float32).max)

_MISSING = {"user_id": "name the column of the user's id so", "ad_id": "name the column of the ad's id so",
            "timestamp": "add it, 0 throughout if the log has no times"}


def refuse(path: Path, column: str, row: int, value: object, fact: str, remedy: str) -> NoReturn:
    """Raises the DataError of one bad value."""
    raise DataError(f"{path}: column {column!r}, row {row}: value {value!r:.80} {fact}; {remedy}")


def open_table(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """Opens a Parquet file of the normal form.

    Raises:
        DataError: the file or a column is missing, it is not Parquet, or a column has another type.
    """
    file = open_parquet(path)
    require_columns(path, file.schema_arrow, schema)
    for wanted in schema:
        found = file.schema_arrow.field(wanted.name).type
        if not same_type(found, wanted.type):
            raise DataError(f"{path}: column {wanted.name!r} has type {found}, but the format wants {wanted.type}; "
                            "convert it, or let `python -m model data parquet` do so")
    return file


def open_parquet(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise DataError(f"{path} does not exist; a data folder needs it (docs/data.md)")
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a Parquet file: {error}; write it again") from error


def require_columns(path: Path, found: pa.Schema, wanted: pa.Schema) -> None:
    for name in wanted.names:
        if name not in found.names:
            remedy = _MISSING.get(name, "add it, or take it out of features.json")
            raise DataError(f"{path}: column {name!r} is missing, the file has {found.names}; {remedy}")
        if found.names.count(name) > 1:
            raise DataError(f"{path}: column {name!r} is there twice; keep one")


def same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column can be read as the format's type without a conversion of its values."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_list(wanted) and (pa.types.is_list(found) or pa.types.is_large_list(found)):
        return same_type(found.value_type, wanted.value_type)
    if pa.types.is_string(wanted):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_float32(found) or pa.types.is_float64(found))
    return bool(found == wanted)


def check_keys(path: Path, column: str, keys: pa.Array, *, nullable: bool, first_row: int = 0,
               rows: NDArray[np.int64] | None = None) -> None:
    """Ids or categorical values: no empty text, at most MAX_ID_BYTES bytes, no NUL.

    Args:
        keys: string array.
        nullable: whether null stands for unknown.
        first_row: row of the first key.
        rows: row of each key, for the flattened values of lists; else they follow each other.
    """
    def fail(bad: pa.Array, fact: str, remedy: str) -> None:
        at = _first(bad)
        if at >= 0:
            refuse(path, column, first_row + at if rows is None else int(rows[at]), keys[at].as_py(), fact, remedy)

    if keys.null_count and not nullable:
        fail(pc.is_null(keys), "is no value", "fill it in or drop the row" if rows is None else "drop it from the list")
    fail(pc.equal(pc.binary_length(keys), 0), "is empty", "give text, or null where the field is unknown")
    fail(pc.greater(pc.binary_length(keys), MAX_ID_BYTES), f"has more than {MAX_ID_BYTES} bytes", "shorten it")
    fail(pc.match_substring(keys, "\0"), "contains a NUL character", "remove it")


def check_unique(path: Path, column: str, ids: pa.Array) -> None:
    """Ids of a table: each once."""
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    codes = pc.dictionary_encode(ids).indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    repeats = np.flatnonzero(np.diff(codes[order]) == 0)
    at = repeats[np.argmin(order[repeats + 1])]
    refuse(path, column, int(order[at + 1]), ids[int(order[at])].as_py(), f"is already the id of row {order[at]}",
           "every id may be there once: drop or merge the rows")


def check_dense(path: Path, column: str, values: pa.Array) -> None:
    """Dense fields: finite numbers that fit 32 bits, no nulls."""
    bad = pc.or_kleene(pc.is_null(values, nan_is_null=True), pc.greater(pc.abs(values), LARGEST_FLOAT))
    at = _first(bad)
    if at >= 0:
        refuse(path, column, at, values[at].as_py(), "is not a finite 32-bit number",
               "fill it in (the column's mean says nothing about the row), or drop the field")


def check_lists(path: Path, column: str, lists: pa.Array) -> None:
    """Multi-valued fields: a null list is an empty one, a null in a list is refused."""
    check_keys(path, column, pc.list_flatten(lists), nullable=False, rows=pc.list_parent_indices(lists).to_numpy())


def check_numbers(path: Path, column: str, numbers: pa.Array, first_row: int) -> None:
    """Timestamps and labels: no nulls."""
    if numbers.null_count:
        refuse(path, column, first_row + _first(numbers.is_null()), None, "is no number", "fill it in or drop the row")


def check_labels(path: Path, spec: FeatureSpec, labels: NDArray[Any], first_row: int) -> None:
    """Labels: 0 or 1, and at least one 1 a row where the log holds positives only.

    Args:
        labels: (N, T) integers, columns in the order of the spec's tasks.
        first_row: row of the first label.
    """
    bad = np.argwhere((labels != 0) & (labels != 1))
    if len(bad):
        row, task = bad[0]
        refuse(path, spec.tasks[task].name, first_row + int(row), int(labels[row, task]), "is no label",
               "labels are 0 or 1")
    if spec.negatives == "sampled":
        empty = np.flatnonzero(~labels.any(axis=1))
        if len(empty):
            names = [task.name for task in spec.tasks]
            raise DataError(f"{path}: row {first_row + int(empty[0])} has label 0 in all of {names}, but features.json "
                            'says negatives "sampled", a log of positives only; drop such rows, or declare '
                            '"impressions"')


def _first(mask: pa.Array) -> int:
    """Index of the first true entry, -1 if there is none; nulls are false."""
    return int(pc.index(pc.fill_null(mask, False), True).as_py())
