"""Checks of the values in a data folder: keys, numbers, lists, labels and ids of other tables.

Every error names file, column, row and value, and says what to do. Rows count from 0 in the order of the table.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec, TaskSpec
from index_store.declaration.values import MAX_ID_BYTES
from model.data.parquet_table import ParquetTable
from model.data.tables import SPEC, DataError

LARGEST_FLOAT = float(np.finfo(np.float32).max)


def check_keys(table: ParquetTable, column: str, keys: pa.Array, *, nullable: bool,
               rows: NDArray[np.int64] | None = None) -> None:
    """Ids or categorical values: no empty text, at most MAX_ID_BYTES bytes, no NUL.

    Args:
        table: that the keys are from.
        column: its name.
        keys: string array.
        nullable: whether null means unknown.
        rows: row of each key, for the flattened values of lists; None for one key a row.
    """
    def fail(bad: pa.Array, fact: str, remedy: str) -> None:
        at = first_true(bad)
        if at >= 0:
            table.refuse(column, at if rows is None else int(rows[at]), keys[at].as_py(), fact, remedy)

    if keys.null_count and not nullable:
        fail(pc.is_null(keys), "is null", "fill it in or drop the row" if rows is None else "drop it from the list")
    fail(pc.equal(pc.binary_length(keys), 0), "is empty", "give text, or null where the field is unknown")
    fail(pc.greater(pc.binary_length(keys), MAX_ID_BYTES), f"has more than {MAX_ID_BYTES} bytes", "shorten it")
    fail(pc.match_substring(keys, "\0"), "contains a NUL character", "remove it")


def check_unique(table: ParquetTable, column: str, ids: pa.Array) -> None:
    """Ids of a table: no duplicates."""
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    codes = pc.dictionary_encode(ids).indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    repeats = np.flatnonzero(np.diff(codes[order]) == 0)
    at = repeats[np.argmin(order[repeats + 1])]
    first = int(order[at])
    table.refuse(column, int(order[at + 1]), ids[first].as_py(), f"is already the id of {table.place(first)}",
                 "ids must be unique: drop or merge the rows")


def check_dense(table: ParquetTable, column: str, values: pa.Array, *, optional: bool) -> None:
    """Dense fields: finite numbers that fit 32 bits; nulls and NaN only if the field is optional."""
    bad = pc.greater(pc.abs(values), LARGEST_FLOAT)
    at = first_true(bad if optional else pc.or_kleene(pc.is_null(values, nan_is_null=True), bad))
    if at >= 0:
        value = values[at].as_py()
        if value is None or value != value:
            declared = json.dumps({"name": column, "kind": "dense", "optional": True})
            remedy = f"declare {declared} in {SPEC}, and the model learns what a missing value says; or fill it in"
        else:
            remedy = "give one, or null in an optional field"
        table.refuse(column, at, value, "is not a finite 32-bit number", remedy)


def check_lists(table: ParquetTable, column: str, lists: pa.Array) -> None:
    """Multi-valued fields: a null list is an empty one, a null in a list is refused."""
    check_keys(table, column, pc.list_flatten(lists), nullable=False, rows=pc.list_parent_indices(lists).to_numpy())


def check_numbers(table: ParquetTable, column: str, numbers: pa.Array, first_row: int) -> None:
    """Timestamps and labels: no nulls; `first_row` is the row of the first number."""
    if numbers.null_count:
        table.refuse(column, first_row + first_true(numbers.is_null()), None, "is null",
                     "fill it in or drop the row")


def check_labels(table: ParquetTable, spec: FeatureSpec, labels: NDArray[Any], first_row: int) -> None:
    """Labels: 0 or 1, and at least one 1 a row where the log holds positives only.

    Args:
        table: that the labels are from.
        spec: declares the tasks.
        labels: (N, T) integers, columns in the order of the spec's tasks.
        first_row: row of the first label.
    """
    bad = np.argwhere((labels != 0) & (labels != 1))
    if len(bad):
        row, task = bad[0]
        table.refuse(spec.tasks[task].name, first_row + int(row), int(labels[row, task]), "is not a label",
                     "labels are 0 or 1")
    if spec.negatives == "sampled":
        empty = np.flatnonzero(~labels.any(axis=1))
        if len(empty):
            names = [task.name for task in spec.tasks]
            raise DataError(f"{table.path}: {table.place(first_row + int(empty[0]))} has label 0 in all of {names}, "
                            'but features.json says negatives "sampled", a log of positives only; drop such rows, or '
                            'declare "impressions"')


def check_label_times(table: ParquetTable, task: TaskSpec, labels: NDArray[Any], times: pa.Array,
                      impressions: pa.Array, first_row: int) -> None:
    """Times of a late label: there where it is 1, and only there, and not before the impression.

    Args:
        table: that they are from.
        task: whose label it is.
        labels: (N,) 0 or 1.
        times: (N,) when the label came, null where it did not.
        impressions: (N,) times of the events, on the same clock.
        first_row: row of the first one.
    """
    missing = pc.is_null(times).to_numpy(zero_copy_only=False)
    early = pc.fill_null(pc.less(times, impressions), False).to_numpy(zero_copy_only=False)
    for bad, fact, remedy in (
            (missing & (labels == 1), f"is null where {task.name} is 1", "give the time at which the label came"),
            (~missing & (labels == 0), f"is given where {task.name} is 0", "leave it null there, or set the label"),
            (early, "is before the impression", "give both times on one clock")):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            table.refuse(task.time, first_row + at, times[at].as_py(), fact, remedy)


def rows_of(table: ParquetTable, column: str, keys: pa.Array, ids: pa.Array, owner: str,
            first_row: int = 0) -> NDArray[np.int32]:
    """Row of each id in another table.

    Args:
        table: that the keys are from.
        column: its name.
        keys: string array (N,).
        ids: string array, each once; the index of an id is its row.
        owner: file name of the other table.
        first_row: row of the first key.

    Raises:
        DataError: an id is not in the other table.
    """
    rows = pc.index_in(keys, value_set=ids)
    if rows.null_count:
        at = first_true(rows.is_null())
        table.refuse(column, first_row + at, keys[at].as_py(), f"is not in {owner}",
                     "add its row there or drop this one")
    found: NDArray[np.int32] = rows.to_numpy()
    return found


def first_true(mask: pa.Array) -> int:
    """Index of the first true entry, -1 if there is none; nulls count as false."""
    return int(pc.index(pc.fill_null(mask, False), True).as_py())
