"""Kinds of fields: dense, categorical or multi-valued, by type, name and number of values; or left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from index_store.declaration.spec import TAKEN, FieldSpec, Role
from index_store.declaration.values import MAX_ID_BYTES
from model.infer.columns import Column, literal, quoted
from model.infer.guess import Guess
from model.infer.labels import task_name
from model.infer.reading import Log
from model.infer.roles import plain

AMOUNTS = ("age", "price", "cost", "amount", "count", "counts", "number", "num", "n", "total", "size", "length",
           "duration", "seconds", "minutes", "hours", "days", "year", "years", "weight", "height", "width", "distance",
           "income", "salary", "score", "rating", "views", "visits", "clicks", "popularity", "balance", "tenure",
           "runtime", "budget", "revenue", "lat", "lon", "lng", "latitude", "longitude", "quantity", "percent", "rate")
CODES = ("id", "code", "type", "level", "class", "group", "segment", "category", "cat", "zip", "zipcode", "postcode",
         "brand", "region", "city", "gender", "status", "flag", "segid", "os", "channel", "browser", "device", "hash",
         "store", "shop", "seller", "merchant", "network", "carrier", "occupation")

INDEX = r"(column|level|unnamed)_\d+|unnamed|index|row(_id|_number|_index)?"
"""Names of what numbers the rows of a frame."""

FEW = 12
"""Whole numbers with at most so many values are codes, unless they are named like an amount."""

LIST_MARKS = ("|", ";", ",", " ")
FEWER = 4
"""How many times fewer words than texts there must be for texts to be lists of words."""

MARKED = 0.2
"""Share of values with a mark from which they are lists."""

DISTINCT = 0.5
"""A text that differs in more than this share of the rows names its row: it says nothing about others."""

ROLES: dict[str, Role] = {"advertiser": "advertiser", "advertiser_id": "advertiser", "campaign": "campaign",
                          "campaign_id": "campaign"}


WHOSE = {"user": "user", "item": "ad", "context": "moment"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of the declaration and the SQL of its value.

    Attributes:
        spec: its declaration.
        table: of the log, that has the column.
        column: its name there.
        sql: its value in a row of the table.
    """

    spec: FieldSpec
    table: str
    column: str
    sql: str


def find_field(log: Log, table: str, column: Column,
               side: Literal["user", "item", "context"]) -> tuple[Field | None, Guess]:
    """A field for a column, or why it is left out."""
    kind, sql, why = _kind(log, table, column)
    note = f". {column.note}" if column.note else ""
    if kind is None:
        return None, Guess(column.name, "left out", why + note)
    optional = kind == "dense" and column.nulls > 0
    if optional:
        why += (f"; {column.nulls:,} of {column.rows:,} values are missing, which the model may learn from (optional)")
    name = field_name(column.name)
    role: Role = ROLES.get(plain(column.name), "") if side == "item" and kind == "categorical" else ""
    if role:
        why += f"; it names the {role}, so answers can be capped by it"
    if name != column.name:
        why += f"; called {name}, since {column.name!r} is no usable name"
    return (Field(spec=FieldSpec(name, kind, role, optional=optional), table=table, column=column.name, sql=sql),
            Guess(name, f"{kind} of the {WHOSE[side]}", why + note))


def field_name(name: str) -> str:
    """The column's own name, or one like it that a declaration may hold."""
    if name.isidentifier() and name not in TAKEN:
        return name
    found = task_name(name)
    return f"{found}_field" if found in TAKEN else found


def _kind(log: Log, table: str, column: Column) -> tuple[Literal["dense", "categorical", "multi"] | None, str, str]:
    """Kind of a column, None to leave it out, the SQL of its values, and the reason."""
    c, words = quoted(column.name), plain(column.name).split("_")
    values = f"{column.distinct:,} values"
    if column.type == "empty":
        return None, "", "all values are missing"
    if column.type == "other":
        return None, "", column.note
    if column.distinct < 2:
        return None, "", f"{column.example!r} throughout" + (", or missing" if column.nulls else "")
    if column.type == "boolean":
        return "categorical", f"{c}::VARCHAR", "true or false"
    if column.type == "list":
        return "multi", c, "lists of values"
    if column.type == "number":
        return "dense", c, f"numbers with fractions, {column.low:g} to {column.high:g}"
    if column.type in ("time", "date"):
        return "dense", f"(epoch({c}) / 86400.0)", (f"a {column.type}, as the number of days since 1970-01-01: send it "
                                                    "like this in requests")
    if _is_index(column):
        return None, "", "it numbers the rows, as an index that was written beside them"
    if column.type == "integer":
        span = f"whole numbers, {values} from {column.low} to {column.high}"
        if set(words) & set(AMOUNTS) and not set(words) & {"id", "code", "type", "group", "level"}:
            return "dense", c, f"{span}, and named like an amount"
        if column.distinct <= FEW or set(words) & set(CODES):
            reason = "named like a code" if set(words) & set(CODES) else "few enough to be codes"
            return "categorical", c, f"{span}, {reason}; dense if their size means something"
        if column.distinct > DISTINCT * column.rows and column.rows > FEW:
            return "dense", c, f"{span}, nearly one for each row; categorical if they are codes"
        return "categorical", c, f"{span}, taken for codes; dense if their size means something"
    return _of_text(log, table, column, values)


def _is_index(column: Column) -> bool:
    """Whether a column counts the rows and is named like the index of a frame, or not at all."""
    return (column.type == "integer" and column.distinct == column.rows > FEW
            and column.high - column.low == column.rows - 1
            and re.fullmatch(INDEX, plain(column.name)) is not None)


def _of_text(log: Log, table: str, column: Column,
             values: str) -> tuple[Literal["dense", "categorical", "multi"] | None, str, str]:
    c = quoted(column.name)
    row = log.con.execute(
        f"SELECT max(strlen({c})), count(*) FILTER (contains({c}, chr(0))), "
        + ", ".join(f"count(*) FILTER (contains({c}, {literal(mark)}))" for mark in LIST_MARKS)
        + f", count({c}), count(*) FILTER ({c} LIKE '[%]') FROM {table}").fetchone()
    assert row is not None
    longest, nul, *marked, known, bracketed = row
    mark = next((mark for mark, count in zip(LIST_MARKS, marked, strict=True) if count >= MARKED * known), None)
    if mark is not None:
        text = f"trim({c}, '[] ')" if bracketed == known else c
        parts = (f"list_distinct(list_filter(list_transform(string_split({text}, {literal(mark)}), "
                 "lambda x: trim(x, ' ''\"')), lambda x: x <> ''))")
        found = log.con.execute(f"SELECT count(DISTINCT p), max(strlen(p)) FROM (SELECT unnest({parts}) AS p "
                                f"FROM {table})").fetchone()
        assert found is not None
        if found[0] * (FEWER if mark == " " else 1) <= column.distinct and (found[1] or 0) <= MAX_ID_BYTES:
            return "multi", parts, f"lists divided by {mark!r}: {found[0]:,} values in {values}"
    if nul or longest > MAX_ID_BYTES:
        return None, "", "NUL in texts" if nul else f"texts of up to {longest} bytes; values may have {MAX_ID_BYTES}"
    if column.distinct > DISTINCT * column.rows and column.rows > FEW:
        return None, "", f"{values} in {column.rows:,} rows: nearly every row has its own, such as {column.example!r}"
    return "categorical", c, f"text with {values}"
