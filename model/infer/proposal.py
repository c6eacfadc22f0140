"""A proposal: the declaration that was guessed for a log, with its reasons, and the tables that it declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from index_store.declaration.spec import FeatureSpec, TaskSpec
from index_store.declaration.values import FeatureError
from model.infer.columns import Column, quoted
from model.infer.context import ContextField, find_context, served_first
from model.infer.families import find_families
from model.infer.guess import Guess
from model.infer.kinds import Field, field_name, find_field
from model.infer.labels import Labels, find_labels
from model.infer.reading import IS_TEST, Log
from model.infer.roles import Given, Roles, best_id, find_roles
from model.infer.sides import Sides, find_sides
from model.infer.time_split import find_split

RESERVED = ("user_id", "ad_id", "timestamp", "row", "positive", "place", "n")
"""Columns of `log_events` besides labels and those of the moment."""

KEPT = ("targeting", "bid", "bid_type")
"""Columns of ads that the format knows: they stay as they are."""

REPEATED = 0.02
"""Share of repeated positives below which users do not come back to an ad."""

Side = Literal["user", "item"]
TABLE: dict[Side, str] = {"user": "users", "item": "ads"}
ID: dict[Side, str] = {"user": "user_id", "item": "ad_id"}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What was guessed of a log.

    Attributes:
        log: its tables.
        spec: the declaration.
        guesses: the reasons, in the order of the declaration.
        queries: name of a table of the format -> SQL of its rows.
    """

    log: Log = field(repr=False)
    spec: FeatureSpec
    guesses: tuple[Guess, ...]
    queries: dict[str, str] = field(repr=False)

    def write_tables(self, folder: Path) -> None:
        """Writes each table as `<name>.parquet` into a folder that exists."""
        for name, query in self.queries.items():
            path = str(folder / f"{name}.parquet").replace("'", "''")
            self.log.con.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def propose(log: Log, given: Given) -> Proposal:
    """Guesses the declaration of a log.

    Args:
        log: the tables, which are added to.
        given: columns that a person named.

    Raises:
        FeatureError: a column that is needed cannot be found, or holds what it cannot.
    """
    roles, of_roles = find_roles(log, given)
    for name, key in ((roles.user, "user"), (roles.ad, "ad"), (roles.time, "time")):
        if name is not None:
            _refuse_null(log, name, key)
    labels, of_labels = find_labels(log, roles, given)
    sides, of_sides = find_sides(log, roles, labels.columns)
    told = [*of_roles, *of_labels, *of_sides]
    fields: dict[Side, list[Field]] = {}
    tables: dict[Side, str] = {}
    for side, found in (("user", sides.user), ("item", sides.ad)):
        side_: Side = "user" if side == "user" else "item"
        fields[side_], tables[side_] = _side(log, side_, roles, labels, found, told)
    context, of_context = find_context(log, roles, labels, sides.context,
                                       (*RESERVED, *(f.spec.name for f in fields["user"])))
    families, of_families = find_families(log, fields["user"], fields["item"], history=roles.user is not None)
    _make_events(log, roles, labels, _moment(sides, context, labels))
    if log.has_test:
        where, of_split = IS_TEST, Guess("test events", "those of the log", f"{log.shown['test_events']} holds them")
    else:
        where, of_split = find_split(log, timed=roles.time is not None, history=roles.user is not None)
    context_fields, of_places = served_first(log, context, f"NOT ({where})")
    again, of_history = _excludes_history(log, roles, labels)
    spec = FeatureSpec(user_fields=tuple(f.spec for f in fields["user"]), item_fields=tuple(f.spec for f in
                                                                                            fields["item"]),
                       tasks=tuple(map(TaskSpec, labels.tasks)), negatives=labels.negatives,
                       key_families=tuple(families), history_ordered=roles.time is not None,
                       context_fields=tuple(context_fields), exclude_history=again, user_ids=roles.user is not None)
    events = f"SELECT * EXCLUDE (row, positive, place, n{', ' + IS_TEST if log.has_test else ''}) FROM log_events"
    queries = {"users": tables["user"], "ads": tables["item"],
               "events": f"{events} WHERE NOT ({where}) ORDER BY row"}
    if where != "false":
        queries["test_events"] = f"{events} WHERE {where} ORDER BY row"
    guesses = (*told, *of_context, *of_places, *of_families, *of_history, of_split)
    return Proposal(log=log, spec=spec, guesses=guesses, queries=queries)


def _refuse_null(log: Log, name: str, key: str) -> None:
    row = log.con.execute(f"SELECT min(rowid) FILTER ({quoted(name)} IS NULL), count(*) - count({quoted(name)}), "
                          "count(*) FROM events").fetchone()
    assert row is not None
    if row[0] is not None:
        ids = ", or give --user-id none to train without ids" if key == "user" else ""
        raise FeatureError(name, f"{log.shown['events']}: column {name!r}, row {row[0]}: the {key} is missing, as in "
                                 f"{row[1]:,} of {row[2]:,} rows", "leave such rows out by a query: \"SELECT * FROM "
                                 f"'{log.shown['events']}' WHERE {name} IS NOT NULL\"{ids}")


def _user_sql(roles: Roles) -> str:
    return "'event-' || rowid" if roles.user is None else f"{quoted(roles.user)}::VARCHAR"


def _side(log: Log, side: Side, roles: Roles, labels: Labels, columns: Sequence[Column],
          told: list[Guess]) -> tuple[list[Field], str]:
    """The fields of users or ads, and the SQL of their table: what a table of them has, and what the events say."""
    table, key = TABLE[side], roles.user if side == "user" else roles.ad
    of_events = _fields(log, "events", columns, side, told, set())
    if side == "user" and key is None:
        values = "".join(f", {value} AS {quoted(name)}" for name, value, _ in of_events)
        query = f"SELECT {_user_sql(roles)} AS user_id{values} FROM events WHERE {labels.where} ORDER BY rowid"
        return [one for *_, one in of_events if one], query
    assert key is not None
    values = "".join(f", {_latest(roles, value)} AS {quoted(name)}" for name, value, _ in of_events)
    of_log = (f"SELECT {quoted(key)}::VARCHAR AS id{values} FROM events WHERE "
              f"{labels.where if table not in log.columns else 'true'} GROUP BY 1")
    if table not in log.columns:
        query = f"SELECT id AS {ID[side]}, * EXCLUDE (id) FROM ({of_log}) ORDER BY 1"
        return [one for *_, one in of_events if one], query
    own = _id_of_table(log, table, key, told)
    taken = {name for name, *_ in of_events}
    of_table = _fields(log, table, [c for c in log.columns[table] if c.name != own], side, told, taken)
    values = "".join(f", {value} AS {quoted(name)}" for name, value, _ in of_table)
    query = (f"SELECT coalesce(t.id, e.id) AS {ID[side]}, t.* EXCLUDE (id), e.* EXCLUDE (id) FROM "
             f"(SELECT {quoted(own)}::VARCHAR AS id{values} FROM {table}) t FULL JOIN ({of_log}) e ON t.id = e.id "
             "ORDER BY 1")
    return [one for *_, one in (*of_table, *of_events) if one], query


def _fields(log: Log, table: str, columns: Sequence[Column], side: Side, told: list[Guess],
            taken: set[str]) -> list[tuple[str, str, Field | None]]:
    """Name, SQL and field, None where it is left out, of each column that is written."""
    found: list[tuple[str, str, Field | None]] = []
    for column in columns:
        if side == "item" and column.name in KEPT:
            told.append(Guess(column.name, column.name, "the format knows ads' columns of this name"))
            found.append((column.name, quoted(column.name), None))
            continue
        one, guess = find_field(log, table, column, side)
        names = {name for name, *_ in found} | taken
        if (one.spec.name if one else field_name(column.name)) in names:
            told.append(Guess(column.name, "left out", "another column has its name"))
            continue
        told.append(guess)
        if one is not None:
            found.append((one.spec.name, one.sql, one))
        elif column.type not in ("empty", "other"):
            found.append((field_name(column.name), quoted(column.name), None))
    return found


def _latest(roles: Roles, value: str) -> str:
    """SQL of the latest value of an expression that is not missing."""
    order = f"({quoted(roles.time)}, rowid)" if roles.time else "rowid"
    return f"arg_max({value}, {order})"


def _id_of_table(log: Log, table: str, key: str, told: list[Guess]) -> str:
    """The id column of a table of users or ads.

    Raises:
        FeatureError: there is none, an id is missing or there twice, or none of the events' ids is in it.
    """
    columns, shown = log.columns[table], log.shown[table]
    names = [c.name for c in columns]
    own = key if key in names else best_id(columns, table)
    if own is None:
        raise FeatureError(key, f"{shown} has no column {key!r}, by which {log.shown['events']} names its {table}, but "
                                f"{', '.join(names)}", "rename the column of ids")
    o = quoted(own)
    bad = log.con.execute(f"SELECT rowid, {o}, first FROM (SELECT rowid, {o}, min(rowid) OVER (PARTITION BY {o}) AS "
                          f"first FROM {table}) WHERE {o} IS NULL OR rowid > first ORDER BY rowid LIMIT 1").fetchone()
    if bad is not None:
        fact = "the id is missing" if bad[1] is None else f"value {bad[1]!r:.60} is already the id of row {bad[2]}"
        raise FeatureError(own, f"{shown}: column {own!r}, row {bad[0]}: {fact}",
                           "drop or merge the rows, so that ids are unique")
    row = log.con.execute(
        f"SELECT count(*), count(*) FILTER (k NOT IN (SELECT {o}::VARCHAR FROM {table})), any_value(k) "
        f"FROM (SELECT DISTINCT {quoted(key)}::VARCHAR AS k FROM events)").fetchone()
    assert row is not None
    if row[0] == row[1]:
        there = log.con.execute(f"SELECT {o}::VARCHAR FROM {table} LIMIT 1").fetchone()
        raise FeatureError(own, f"{shown}: no {key} of {log.shown['events']} is in its column {own!r}: the events say "
                                f"{row[2]!r}, it has {there[0] if there else None!r}", "write ids alike in both")
    if row[1]:
        told.append(Guess(table, "completed", f"{row[1]:,} of {row[0]:,} {table} of the events are not in {shown}: "
                                              "they "
                                              "are added without values"))
    return own


def _moment(sides: Sides, context: Sequence[ContextField], labels: Labels) -> list[str]:
    """SQL of the columns that describe the moment: context fields by their names, and what is only kept."""
    fields = {one.column.name: f"{one.sql} AS {quoted(one.spec.name)}" for one in context}
    taken = {*RESERVED, *labels.tasks, *(one.spec.name.lower() for one in context)}
    return [*fields.values(), *(quoted(c.name) for c in sides.moment
                                if c.name not in fields and c.name.lower() not in taken)]


def _make_events(log: Log, roles: Roles, labels: Labels, moment: Sequence[str]) -> None:
    """The table `log_events`: the events of the format, columns of the moment, and what a split may ask."""
    time = "0::BIGINT"
    if roles.time is not None:
        kind = log.column("events", roles.time).type
        t = quoted(roles.time)
        time = {"date": f"{t}::TIMESTAMP", "number": f"round({t} * 1000000)::BIGINT"}.get(kind, t)
    tasks = [f"({sql})::TINYINT AS {quoted(name)}" for name, sql in labels.tasks.items()]
    test = [IS_TEST] if log.has_test else []
    positive = " + ".join(f"({sql})" for sql in labels.tasks.values())
    log.con.execute(f"""
        CREATE TABLE log_events AS SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY timestamp DESC, row DESC)
            AS place, count(*) OVER (PARTITION BY user_id) AS n
        FROM (SELECT {_user_sql(roles)} AS user_id, {quoted(roles.ad)}::VARCHAR AS ad_id, {time} AS timestamp,
              {', '.join([*tasks, *moment, *test])}, rowid AS row, {positive} > 0 AS positive
              FROM events WHERE {labels.where})""")


def _excludes_history(log: Log, roles: Roles, labels: Labels) -> tuple[bool, list[Guess]]:
    if roles.user is None:
        return False, []
    row = log.con.execute("SELECT 1 - count(DISTINCT (user_id, ad_id)) / count(*)::DOUBLE FROM log_events WHERE "
                          "positive"
                          ).fetchone()
    assert row is not None
    repeated = float(row[0] or 0)
    again = labels.negatives == "sampled" and repeated < REPEATED
    return again, [Guess("exclude_history", str(again).lower(), f"{repeated:.1%} of the positives are of an ad that "
                                                                "the "
                         "user had before: " + ("answers leave out what a user had" if again else
                                                "ads may be shown again"))]
