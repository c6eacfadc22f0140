"""Column types: casts the columns of a user's tables to the types of the format.

Besides the format's own types, a column may hold integers for ids and values, integers for dense fields, booleans and
integers of any width for labels, and lists of nulls for multi-valued fields.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from model.data.parquet_files import Part, one_line, refuse
from model.data.tables import DataError


def normal(part: Part, field: pa.Field, column: pa.Array, first_row: int = 0) -> pa.Array:
    """The column in the format's type; numbers stay wide until their values are checked.

    Raises:
        DataError: its type cannot stand for the wanted one, a number or time does not fit it, or text is not UTF-8.
    """
    target = _target(part, field, column.type)
    try:
        column = column.cast(target, safe=not pa.types.is_floating(target))
    except pa.ArrowInvalid as error:
        if field.name in part.keys:
            raise DataError(f"{part.path}: column {field.name!r} is {part.keys[field.name]!r} by the name of its "
                            f"folder, which cannot be read as {field.type}; rename the folder") from error
        remedy = "use numbers that fit 64 bits" if pa.types.is_integer(target) else "convert it"
        if pa.types.is_timestamp(target):
            remedy = "write all timestamps in one coarser unit"
        raise DataError(f"{part.path}: column {field.name!r}: {one_line(error)}; {remedy}") from error
    _check_utf8(part.path, field.name, column, first_row)
    return column


def _target(part: Part, field: pa.Field, found: pa.DataType) -> pa.DataType:
    """The type that a column is cast to: the wanted one, or a wide number.

    Raises:
        DataError: the column's type cannot stand for the wanted one.
    """
    wanted, is_key = field.type, field.name in part.keys
    if pa.types.is_dictionary(found):
        found = found.value_type
    is_whole = pa.types.is_integer(found) or is_key
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        target = wanted if is_list and (_is_value(found.value_type) or pa.types.is_null(found.value_type)) else None
    elif pa.types.is_string(wanted):
        target = wanted if _is_value(found) else None
    elif pa.types.is_floating(wanted):
        target = pa.float64() if pa.types.is_floating(found) or is_whole else None
    elif pa.types.is_timestamp(wanted):
        target = wanted if pa.types.is_timestamp(found) else None
    elif found == wanted:
        target = wanted
    else:
        target = pa.int64() if is_whole or pa.types.is_boolean(found) else None
    if pa.types.is_null(found):  # nothing but nulls, as pandas writes it
        return pa.float64() if pa.types.is_floating(wanted) else pa.int64() if pa.types.is_integer(wanted) else wanted
    if target is None:
        raise DataError(f"{part.path}: column {field.name!r} has type {found}, which cannot be read as {wanted}; "
                        "convert it (docs/data.md lists the types)")
    return target


def _is_value(found: pa.DataType) -> bool:
    """Whether ids and categorical values may have this type."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_integer(found))


def _check_utf8(path: Path, name: str, column: pa.Array, first_row: int) -> None:
    """Refuses text that is not UTF-8, which Parquet files may hold although their schema promises text."""
    try:
        column.validate(full=True)
        return
    except pa.ArrowInvalid as error:
        fault = error
    is_list = pa.types.is_list(column.type)
    texts = pc.list_flatten(column) if is_list else column
    for at, raw in enumerate(texts.cast(pa.binary())):
        try:
            (raw.as_py() or b"").decode()
        except UnicodeDecodeError:
            row = pc.list_parent_indices(column)[at].as_py() if is_list else at
            refuse(path, name, first_row + row, raw.as_py(), "is not UTF-8", "write it as UTF-8")
    raise DataError(f"{path}: column {name!r} cannot be read: {one_line(fault)}; the file is damaged: write it again")
