"""Column types: casts the columns of a user's tables to the types of the format.

Besides the format's own types, a column may hold integers, whole numbers as floats (pandas makes them where a value is
missing) and booleans for ids, values and labels, integers, booleans and decimals for dense fields, and lists of nulls
for multi-valued fields.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index_store.declaration.values import LARGEST_WHOLE
from model.data.parquet_files import Part, check_utf8, is_list, one_line, refuse
from model.data.tables import AD_EXTRAS, DataError


def normal(part: Part, field: pa.Field, column: pa.Array, first_row: int = 0) -> pa.Array:
    """The column in the format's type; numbers stay wide until their values are checked.

    Raises:
        DataError: its type cannot stand for the wanted one, a number or time does not fit it, or text is not UTF-8.
    """
    target = _target(part, field, column.type)
    if not pa.types.is_floating(target) and pa.types.is_floating(_values_of(column.type)):
        column = _whole(part, field.name, column, first_row)
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
    elif field.name in AD_EXTRAS:
        exact = is_whole if pa.types.is_integer(wanted) else _is_text(found)
        target = wanted if exact else None
    elif pa.types.is_string(wanted):
        target = wanted if _is_value(found) else None
    elif pa.types.is_floating(wanted):
        is_number = pa.types.is_floating(found) or pa.types.is_decimal(found) or pa.types.is_boolean(found)
        target = pa.float64() if is_number or is_whole else None
    elif pa.types.is_timestamp(wanted):
        target = wanted if pa.types.is_timestamp(found) else None
    elif found == wanted:
        target = wanted
    else:
        is_label = wanted == pa.int8() and pa.types.is_boolean(found)
        target = pa.int64() if is_whole or is_label or pa.types.is_floating(found) else None
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
    return bool(_is_text(found) or pa.types.is_integer(found) or pa.types.is_floating(found)
                or pa.types.is_boolean(found))


def _is_text(found: pa.DataType) -> bool:
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))


def _values_of(found: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary-encoded column, or of lists."""
    while pa.types.is_dictionary(found) or is_list(found):
        found = found.value_type
    return found


def _whole(part: Part, name: str, column: pa.Array, first_row: int) -> pa.Array:
    """Floats, or lists of them, as int64; NaN, by which pandas says missing, is null.

    Raises:
        DataError: a value has a fraction, or is so large that a float has lost digits of it.
    """
    if is_list(column.type):
        lists = column.cast(pa.list_(pa.float64()))
        numbers, rows = lists.flatten(), pc.list_parent_indices(lists)
    else:
        lists, numbers, rows = None, column.cast(pa.float64()), pa.array(np.arange(len(column)))
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    for bad, fact in ((pc.not_equal(pc.floor(numbers), numbers), "is not a whole number"),
                      (pc.greater(pc.abs(numbers), LARGEST_WHOLE), "is a float beyond 2^53 that has lost digits")):
        at = pc.index(pc.fill_null(bad, False), True).as_py()
        if at >= 0:
            refuse(part.path, name, first_row + rows[at].as_py(), numbers[at].as_py(), fact,
                   "ids, categorical values and labels are text or integers: convert it, or declare the field dense")
    whole = numbers.cast(pa.int64())
    if lists is None:
        return whole
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), mask=np.append(
        lists.is_null().to_numpy(zero_copy_only=False), False))
    return pa.ListArray.from_arrays(ends, whole)
