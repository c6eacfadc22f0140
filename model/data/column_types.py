"""Column types: casts the columns of a user's tables to the types of the format.

Besides the format's own types, a column may hold integers for ids and values, integers for dense fields, booleans and
integers of any width for labels, and lists of nulls for multi-valued fields.
"""

from __future__ import annotations

import pyarrow as pa

from model.data.parquet_files import Part, check_utf8, is_list, one_line
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
    check_utf8(part.path, field.name, column, first_row)
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
        holds_values = is_list(found) and (_is_value(found.value_type) or pa.types.is_null(found.value_type))
        target = wanted if holds_values else None
    elif pa.types.is_string(wanted):
        target = wanted if _is_value(found) else None
    elif pa.types.is_floating(wanted):
        target = pa.float64() if pa.types.is_floating(found) or is_whole else None
    elif pa.types.is_timestamp(wanted):
        target = wanted if pa.types.is_timestamp(found) else None
    elif found == wanted:
        target = wanted
    else:
        is_label = wanted == pa.int8() and pa.types.is_boolean(found)
        target = pa.int64() if is_whole or is_label else None
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
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
                or pa.types.is_integer(found))
