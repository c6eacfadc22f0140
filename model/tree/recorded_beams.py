"""Recorded beams: reads the files that a service wrote (docs/operations.md), for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.tree.recorded_beams import (
    CATEGORICAL,
    DENSE,
    FORMAT,
    FORMAT_KEY,
    HISTORY,
    MULTI,
    TREE_KEY,
    RecordedBeams,
    columns,
    level_column,
)
from index_store.tree.tree import Tree
from model.data.parquet_files import open_parquet, read_columns, refuse
from model.data.tables import DataError

__all__ = ["RecordedBeams", "read_beams"]

_OTHER_TREE = "these beams were recorded on another tree: use the run that the bundle was exported from"


def read_beams(paths: Sequence[Path], tree: Tree, spec: FeatureSpec) -> RecordedBeams:
    """Reads files of recorded beams, one after the other.

    Args:
        paths: files that a service wrote.
        tree: of the run that is to learn from them.
        spec: of the run's data.

    Raises:
        DataError: a file is missing, not Parquet, of another format or tree, lacks a column, or a value does not fit
            tree or spec; or there is no beam at all.
    """
    parts = [_read(Path(path), tree, spec) for path in paths]
    if not sum(map(len, parts)):
        raise DataError(f"{len(parts)} files hold no recorded beam; name some that a service wrote into "
                        "RETRIEVAL_BEAM_FOLDER")
    return RecordedBeams.joined(parts)


def _read(path: Path, tree: Tree, spec: FeatureSpec) -> RecordedBeams:
    if not path.is_file():
        raise DataError(f"{path} is not a file; name those that a service wrote into RETRIEVAL_BEAM_FOLDER")
    file = open_parquet(path)
    metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
    if metadata.get(FORMAT_KEY) != FORMAT:
        raise DataError(f"{path} says format {metadata.get(FORMAT_KEY)!r} of recorded beams, this program reads "
                        f"{FORMAT!r}; name a file that a service of this version wrote")
    if metadata.get(TREE_KEY) != tree.digest:
        raise DataError(f"{path} names the tree {metadata.get(TREE_KEY)}, the run's is {tree.digest}; {_OTHER_TREE}")
    _check_columns(path, file.schema_arrow, tree.depth)
    table = read_columns(path, file, columns(tree.depth)).combine_chunks()
    n = len(table)
    dense, width = _lists(path, table, DENSE), len(spec.fields("user", "dense"))
    values = _values(path, DENSE, dense, np.float32)
    shape = _shape(path, DENSE, dense, n, width)
    optional = np.isin(np.arange(width), spec.optional_columns("user"))
    wrong = np.isinf(values) | (np.isnan(values) & ~np.broadcast_to(optional, shape).ravel())
    _refuse_first(path, DENSE, dense, values, wrong, "is not a finite number")
    features = Features(values.reshape(shape),
                        _categorical(path, table, n, len(spec.fields("user", "categorical"))),
                        _multi(path, table, len(spec.fields("user", "multi"))))
    kept = tuple(_numbers(path, level_column(level), _lists(path, table, level_column(level)), tree.size(level),
                          f"the tree has nodes 0 to {tree.size(level) - 1} at this level")
                 for level in range(1, tree.depth + 1))
    return RecordedBeams(features, _numbers(path, HISTORY, _lists(path, table, HISTORY), tree.n_items,
                                            f"the tree has items 0 to {tree.n_items - 1}"), kept)


def _check_columns(path: Path, found: pa.Schema, depth: int) -> None:
    wanted = columns(depth)
    missing = [name for name in wanted if name not in found.names]
    if missing:
        raise DataError(f"{path}: columns {missing} are missing, the file has {found.names}; name a file that a "
                        "service wrote")
    for name in wanted:
        kind = pa.list_(pa.int32())
        expected = {DENSE: pa.list_(pa.float32()), MULTI: pa.list_(kind)}.get(name, kind)
        if not _same_type(found.field(name).type, expected):
            raise DataError(f"{path}: column {name!r} has type {found.field(name).type}, {expected} was expected; name "
                            "a file that a service wrote")


def _same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column of lists can be read as another type without a conversion of its values."""
    if pa.types.is_list(wanted) and (pa.types.is_list(found) or pa.types.is_large_list(found)):
        return _same_type(found.value_type, wanted.value_type)
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_float32(found) or pa.types.is_float64(found))
    return bool(found == wanted)


def _lists(path: Path, table: pa.Table, name: str) -> pa.Array:
    """A column of lists as one array without nulls."""
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    _refuse_null(path, name, column)
    return column


def _refuse_null(path: Path, name: str, lists: pa.Array, per_row: int = 1) -> None:
    if lists.null_count:
        refuse(path, name, int(np.argmax(lists.is_null().to_numpy(zero_copy_only=False))) // per_row, None,
               "is not a list", "name a file that a service wrote")


def _values(path: Path, name: str, lists: pa.Array, dtype: type[np.generic]) -> NDArray[Any]:
    """The values of all lists, one after the other."""
    flat = lists.flatten()
    if flat.null_count:
        refuse(path, name, int(_rows(lists)[np.argmax(flat.is_null().to_numpy(zero_copy_only=False))]), None,
               "is not a number", "name a file that a service wrote")
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return values


def _shape(path: Path, name: str, lists: pa.Array, n: int, width: int) -> tuple[int, int]:
    lengths = lists.value_lengths().to_numpy()
    wrong = np.flatnonzero(lengths != width)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"{path}: column {name!r}, row {row} is about {lengths[row]} fields, features.json declares "
                        f"{width} {name} user fields; use the run that the bundle was exported from")
    return n, width


def _categorical(path: Path, table: pa.Table, n: int, width: int) -> NDArray[np.int32]:
    lists = _lists(path, table, CATEGORICAL)
    shape = _shape(path, CATEGORICAL, lists, n, width)
    return _numbers(path, CATEGORICAL, lists, None, "ids are 0 or more").values.reshape(shape)


def _multi(path: Path, table: pa.Table, width: int) -> tuple[Ragged, ...]:
    """One Ragged a field of the lists of lists."""
    outer = _lists(path, table, MULTI)
    n, _ = _shape(path, MULTI, outer, len(table), width)
    inner = outer.flatten()
    _refuse_null(path, MULTI, inner, width)
    flat = _numbers(path, MULTI, inner, None, "ids are 0 or more", width)
    return tuple(flat.take(np.arange(n) * width + at) for at in range(width))


def _numbers(path: Path, name: str, lists: pa.Array, end: int | None, fact: str, per_row: int = 1) -> Ragged:
    """Lists of numbers from 0 on and below `end`; `per_row` of them make a row of the file."""
    values = _values(path, name, lists, np.int32)
    bad = values < 0 if end is None else (values < 0) | (values >= end)
    _refuse_first(path, name, lists, values, bad, f"does not fit: {fact}", per_row)
    return Ragged.of_lengths(lists.value_lengths().to_numpy(), values)


def _refuse_first(path: Path, name: str, lists: pa.Array, values: NDArray[Any], bad: NDArray[np.bool_],
                  fact: str, per_row: int = 1) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        refuse(path, name, int(_rows(lists)[at]) // per_row, values[at].item(), fact,
               "name a file that a service wrote, and the run that its bundle was exported from")


def _rows(lists: pa.Array) -> NDArray[np.int64]:
    """Index of the list of each of the values."""
    rows: NDArray[np.int64] = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
    return rows
