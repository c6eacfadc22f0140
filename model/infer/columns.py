"""Columns of a table as they are: the type that their values have, whatever type they were written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import duckdb

Type = Literal["integer", "number", "boolean", "text", "time", "date", "list", "empty", "other"]

MISSING = ("", "nan", "NaN", "null", "NULL", "None", "<NA>", r"\N")
"""Text that stands for a missing value, in files and in columns of text."""

WHOLE = r"-?(0|[1-9]\d{0,17})"
WHOLE_FLOAT = r"-?(0|[1-9]\d{0,14})\.0*"
NUMBER = r"[-+]?(0|[1-9]\d*)?(\.\d*)?([eE][-+]?\d+)?|[-+]?(inf|Infinity)"
"""Numbers; codes with leading zeros, such as 007, are text."""

NEARLY = 0.9
"""Share of numbers from which the values of a text column that are none are worth a line."""

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_WIDE = ("UBIGINT", "HUGEINT", "UHUGEINT")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: in the table.
        type: of its values.
        rows, nulls, distinct: counts; lists count as distinct by their whole value.
        low, high: smallest and largest value, None for lists.
        example: a value, as text.
        note: what was made of its values, to be told; empty if nothing was.
    """

    name: str
    type: Type
    rows: int
    nulls: int
    distinct: int
    low: Any
    high: Any
    example: str
    note: str = ""


def quoted(name: str) -> str:
    """A name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def typed(con: duckdb.DuckDBPyConnection, raw: str, table: str) -> list[Column]:
    """Makes `table` of `raw`, whose columns have the types of their values, and describes them.

    Args:
        con: holds the table `raw`, which is dropped.
        raw, table: names.
    """
    found = con.execute(f"DESCRIBE {raw}").fetchall()
    for name, *_ in found:
        if name.lower() == "rowid":  # by which DuckDB numbers rows
            con.execute(f"ALTER TABLE {raw} RENAME {quoted(name)} TO row_id")
            found = con.execute(f"DESCRIBE {raw}").fetchall()
    chosen = [(name, *_read_as(con, raw, name, kind)) for name, kind, *_ in found]
    columns = ", ".join(f"{expression} AS {quoted(name)}" for name, _, expression, _ in chosen)
    con.execute(f"CREATE TABLE {table} AS SELECT {columns} FROM {raw}")
    con.execute(f"DROP TABLE {raw}")
    return [_described(con, table, name, kind, note) for name, kind, _, note in chosen]


def _described(con: duckdb.DuckDBPyConnection, table: str, name: str, kind: Type, note: str) -> Column:
    c = quoted(name)
    low_high = "NULL, NULL" if kind in ("list", "other", "empty") else f"min({c}), max({c})"
    row = con.execute(f"SELECT count(*), count(*) - count({c}), count(DISTINCT {c}), {low_high}, "
                      f"any_value({c}::VARCHAR) FROM {table}").fetchone()
    assert row is not None
    return Column(name=name, type="empty" if row[0] == row[1] else kind, rows=row[0], nulls=row[1], distinct=row[2],
                  low=row[3], high=row[4], example=str(row[5])[:40], note=note)


def _read_as(con: duckdb.DuckDBPyConnection, raw: str, name: str, kind: str) -> tuple[Type, str, str]:
    """Type of a column's values, the SQL that makes them of it, and what there is to tell."""
    c = quoted(name)
    if kind.startswith(("ENUM", "UUID")):
        return "text", f"{c}::VARCHAR", ""
    if kind == "VARCHAR":
        return _of_text(con, raw, name)
    if kind in _INTEGERS:
        return "integer", f"{c}::BIGINT", ""
    if kind in _WIDE:
        fits = _one(con, f"SELECT count(TRY_CAST({c} AS BIGINT)) = count({c}) FROM {raw}")
        return ("integer", f"{c}::BIGINT", "") if fits else ("text", f"{c}::VARCHAR", "integers beyond 64 bits, as "
                                                                                      "text")
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        return _of_floats(con, raw, f"{c}::DOUBLE")
    if kind == "BOOLEAN":
        return "boolean", c, ""
    if kind == "DATE":
        return "date", c, ""
    if kind.startswith("TIMESTAMP"):
        zone = kind.endswith("WITH TIME ZONE")
        return "time", f"({c} AT TIME ZONE 'UTC')" if zone else f"{c}::TIMESTAMP", "in UTC" if zone else ""
    if kind.endswith("[]") or (kind.endswith("]") and "[" in kind):
        return _of_lists(kind, c)
    if kind.strip('"') == "NULL":
        return "empty", f"{c}::VARCHAR", ""
    return "other", "NULL::VARCHAR", f"values of type {kind.split('(')[0]} are not read"


def _of_text(con: duckdb.DuckDBPyConnection, raw: str, name: str) -> tuple[Type, str, str]:
    missing = ", ".join(map(literal, MISSING))
    c = f"(CASE WHEN {quoted(name)} IN ({missing}) THEN NULL ELSE {quoted(name)} END)"
    row = con.execute(f"""
        SELECT count(c), count(*) FILTER (regexp_full_match(c, '{WHOLE}')),
               count(*) FILTER (regexp_full_match(c, '{WHOLE_FLOAT}')),
               count(*) FILTER (regexp_full_match(c, '{NUMBER}') AND TRY_CAST(c AS DOUBLE) IS NOT NULL),
               count(TRY_CAST(c AS TIMESTAMPTZ)), count(*) FILTER (contains(c, ':')),
               count(*) FILTER (lower(c) IN ('true', 'false'))
        FROM (SELECT {c} AS c FROM {raw})""").fetchone()
    assert row is not None
    values, whole, whole_floats, numbers, times, clocks, booleans = row
    if not values:
        return "empty", c, ""
    if whole == values:
        return "integer", f"{c}::BIGINT", ""
    if whole + whole_floats == values:
        return "integer", f"{c}::DOUBLE::BIGINT", "whole numbers written as floats"
    if numbers == values:
        return _of_floats(con, raw, f"{c}::DOUBLE")
    if booleans == values:
        return "boolean", f"lower({c})::BOOLEAN", ""
    if times == values:
        utc = f"({c}::TIMESTAMPTZ AT TIME ZONE 'UTC')"
        return ("time" if clocks else "date"), utc if clocks else f"{utc}::DATE", ""
    note = ""
    if max(numbers, times) >= NEARLY * values:
        kind, test = (("number", f"NOT (regexp_full_match(c, '{NUMBER}') AND TRY_CAST(c AS DOUBLE) IS NOT NULL)")
                      if numbers >= times else ("time", "TRY_CAST(c AS TIMESTAMPTZ) IS NULL"))
        bad = con.execute(f"SELECT r, c FROM (SELECT rowid AS r, {c} AS c FROM {raw}) WHERE c IS NOT NULL AND {test} "
                          "ORDER BY r LIMIT 1").fetchone()
        assert bad is not None
        note = (f"read as text: row {bad[0]} has {bad[1]!r:.40}, which is no {kind}, as are "
                f"{values - max(numbers, times)} of {values} values")
    return "text", c, note


def _of_floats(con: duckdb.DuckDBPyConnection, raw: str, c: str) -> tuple[Type, str, str]:
    finite = f"(CASE WHEN isfinite({c}) THEN {c} END)"
    row = con.execute("SELECT count(f), count(*) FILTER (f = trunc(f) AND abs(f) <= 9007199254740992), "
                      f"count(*) FILTER (isinf(c)) FROM (SELECT {c} AS c, {finite} AS f FROM {raw})").fetchone()
    assert row is not None
    values, whole, infinite = row
    note = f"{infinite} infinite values count as missing" if infinite else ""
    if not values:
        return "empty", finite, note
    if whole == values:
        return "integer", f"{finite}::BIGINT", note or "whole numbers as floats, as pandas makes them"
    return "number", finite, note


def _of_lists(kind: str, c: str) -> tuple[Type, str, str]:
    of = kind[:kind.rindex("[")]
    if of in (*_INTEGERS, "VARCHAR", "BOOLEAN") or of.startswith("ENUM"):
        return "list", f"list_filter({c}, lambda x: x IS NOT NULL)::VARCHAR[]", ""
    if of in ("FLOAT", "DOUBLE"):
        return "list", f"list_filter({c}, lambda x: isfinite(x))::BIGINT[]::VARCHAR[]", "whole numbers as floats"
    if of.strip('"') in ("NULL", "INTEGER"):
        return "list", f"{c}::VARCHAR[]", ""
    return "other", "NULL::VARCHAR", f"lists of {of} are not read"


def _one(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = con.execute(query).fetchone()
    assert row is not None
    return row[0]
