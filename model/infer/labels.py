"""Labels: the tasks of a log, whether it holds impressions or positives only, and what makes a label of a column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from index_store.declaration.values import FeatureError
from model.infer.columns import Column, literal, quoted
from model.infer.guess import Guess
from model.infer.reading import Log
from model.infer.roles import Given, Roles, plain

CLICKS = ("click", "clicked", "is_click", "is_clicked", "clk", "label", "target", "y", "like", "liked", "is_like",
          "view", "viewed", "watched", "completed", "open", "opened", "response", "engaged", "interaction")
OUTCOMES = ("conversion", "converted", "is_conversion", "purchase", "purchased", "is_purchase", "buy", "bought",
            "order", "ordered", "install", "installed", "is_attributed", "attributed", "is_install", "cart",
            "add_to_cart", "signup", "lead", "sale", "share", "shared", "follow", "followed", "comment", "forward")
RATINGS = ("rating", "ratings", "stars", "score", "overall", "grade")
KINDS = ("event", "event_type", "action", "action_type", "behavior", "behavior_type", "behaviour", "type", "event_name")
SHOWN = ("impression", "imp", "show", "shown", "exposure", "exposed", "served", "display")

LIKED = 0.8
"""Share of the best rating from which a rating is a positive: 4 of 5."""

MOST_KINDS = 12

POSITIVES = {"click": "click", "rating": "like", "purchase": "purchase", "order": "purchase",
             "transaction": "purchase", "play": "play", "listen": "play", "view": "view", "visit": "visit",
             "checkin": "visit", "review": "review"}
"""Part of a file's name -> what its events are."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is learned.

    Attributes:
        tasks: name of each task -> the SQL of its label, 0 or 1, in the order of the declaration.
        negatives: of the declaration.
        where: SQL of the rows that are events of the log.
        columns: that labels are made of.
    """

    tasks: dict[str, str]
    negatives: Literal["impressions", "sampled"]
    where: str
    columns: tuple[str, ...]


def find_labels(log: Log, roles: Roles, given: Given) -> tuple[Labels, list[Guess]]:
    """The labels of the events, with the reasons.

    Raises:
        FeatureError: a label that was given is not one.
    """
    columns = [c for c in log.columns["events"] if c.name not in (roles.user, roles.ad, roles.time)]
    if given.labels:
        chosen = [_checked(log, log.column("events", name)) for name in given.labels]
        return _binary(log, chosen, "you said so", sort=False)
    binary = [c for c in columns if _is_binary(c)]
    named = [c for c in binary if plain(c.name) in (*CLICKS, *OUTCOMES)]
    if named:
        return _binary(log, named, "0 or 1, and named like a label", sort=True)
    rated = next((c for c in columns if c.type in ("integer", "number") and plain(c.name) in RATINGS
                  and c.distinct > 2), None)
    if rated is not None:
        return _rated(rated)
    kind = next((c for c in columns if c.type == "text" and plain(c.name) in KINDS and 2 <= c.distinct <= MOST_KINDS),
                None)
    if kind is not None:
        return _by_kind(log, kind)
    return _all_positive(log)


def _is_binary(column: Column) -> bool:
    if column.type == "boolean":
        return True
    return column.type == "integer" and {column.low, column.high} <= {0, 1}


def _checked(log: Log, column: Column) -> Column:
    """Refuses a column that holds no labels."""
    if _is_binary(column):
        return column
    where = f"{quoted(column.name)} NOT IN (0, 1)" if column.type in ("integer", "number") else "true"
    bad = log.con.execute(f"SELECT rowid, {quoted(column.name)} FROM events WHERE {where} AND {quoted(column.name)} "
                          "IS NOT NULL ORDER BY rowid LIMIT 1").fetchone() or (0, None)
    column_name = quoted(column.name)
    raise FeatureError(column.name, f"{log.shown['events']}: column {column.name!r}, row {bad[0]}: value {bad[1]!r} is "
                                    "not a label", "labels are 0 or 1, or true and false: make one in a query, such as "
                                    f"\"SELECT *, ({column_name} >= 4) AS liked FROM 'FILE'\"")


def _binary(log: Log, columns: list[Column], why: str, *, sort: bool) -> tuple[Labels, list[Guess]]:
    """Labels of columns of 0 and 1, in their order or sorted by their positives."""
    rates: list[tuple[int, Column]] = []
    for column in columns:
        row = log.con.execute(f"SELECT count(*) FILTER ({quoted(column.name)}::INT = 1) FROM events").fetchone()
        assert row is not None
        rates.append((row[0], column))
    if sort:
        rates.sort(key=lambda pair: -pair[0])
    tasks, guesses = {}, []
    for positives, column in rates:
        if column.nulls and column.low != column.high:
            _refuse_null(log, column.name)
        tasks[task_name(column.name)] = f"coalesce({quoted(column.name)}::INT, 0)"
        blank = "; rows without a value are 0" if column.nulls else ""
        guesses.append(Guess(f"task {task_name(column.name)}", column.name,
                             f"{why}; 1 in {positives:,} of {column.rows:,} events{blank}"))
    used = tuple(column.name for column in columns)
    any_positive = " + ".join(tasks.values()) + " > 0"
    row = log.con.execute(f"SELECT count(*) FILTER (NOT ({any_positive})) FROM events").fetchone()
    assert row is not None
    if sort and len(tasks) > 1:
        guesses.append(Guess("first task", next(iter(tasks)), "it has the most positives; ads are ranked by it"))
    if row[0]:
        guesses.append(Guess("negatives", "impressions", f"{row[0]:,} events have no positive label: they are the "
                                                         "negatives, and scores become probabilities"))
        return Labels(tasks=tasks, negatives="impressions", where="true", columns=used), guesses
    guesses.append(Guess("negatives", "sampled", "every event has a positive label, so negatives are drawn"))
    return Labels(tasks=tasks, negatives="sampled", where="true", columns=used), guesses


def _refuse_null(log: Log, name: str) -> None:
    row = log.con.execute(f"SELECT rowid FROM events WHERE {quoted(name)} IS NULL ORDER BY rowid LIMIT 1").fetchone()
    assert row is not None
    raise FeatureError(name, f"{log.shown['events']}: column {name!r}, row {row[0]}: the label is missing",
                       f"fill it in, or leave such rows out by a query: SELECT * FROM ... WHERE {quoted(name)} IS NOT "
                       "NULL")


def _rated(column: Column) -> tuple[Labels, list[Guess]]:
    bound = column.high * LIKED
    c = quoted(column.name)
    why = (f"{column.name!r} goes from {column.low:g} to {column.high:g}: from {bound:g} on it is a positive, lower "
           "ones "
           "are left out, since most ads that a user would not like have no rating")
    return (Labels(tasks={"like": f"({c} >= {bound})::INT"}, negatives="sampled", where=f"{c} >= {bound}",
                   columns=(column.name,)),
            [Guess("task like", column.name, why), Guess("negatives", "sampled", "ratings are no impressions")])


def _by_kind(log: Log, column: Column) -> tuple[Labels, list[Guess]]:
    """A column that says what kind of event each row is."""
    c = quoted(column.name)
    counts = log.con.execute(f"SELECT {c}, count(*) AS n FROM events WHERE {c} IS NOT NULL GROUP BY 1 ORDER BY n "
                             "DESC, 1"
                             ).fetchall()
    shown = [value for value, _ in counts if plain(value) in SHOWN]
    tasks = {task_name(value): f"coalesce(({c} = {literal(value)})::INT, 0)" for value, _ in counts
             if value not in shown}
    guesses = [Guess(f"task {task_name(value)}", f"{column.name} = {value}", f"{count:,} events are of this kind")
               for value, count in counts if value not in shown]
    if shown:
        guesses.append(Guess("negatives", "impressions", f"{column.name} = {shown[0]} says that an ad was shown. Where "
                             "an impression and its click are two rows, join them first, or each click counts as a "
                             "negative too"))
    else:
        guesses.append(Guess("negatives", "sampled", f"every {column.name} is something that a user did"))
    return Labels(tasks=tasks, negatives="impressions" if shown else "sampled",
                  where="true" if shown else f"{c} IS NOT NULL", columns=(column.name,)), guesses


def _all_positive(log: Log) -> tuple[Labels, list[Guess]]:
    stem = plain(Path(log.shown["events"]).name)
    name = next((task for part, task in POSITIVES.items() if part in stem), "interaction")
    return (Labels(tasks={name: "1"}, negatives="sampled", where="true", columns=()),
            [Guess(f"task {name}", "every event", "no column holds 0 and 1 and is named like a label, nor a rating or "
                                                  "the kind of event; name one with --label if there is one"),
             Guess("negatives", "sampled", "every event is a positive, so negatives are drawn")])


def task_name(name: str) -> str:
    """A name of a task or field for a column or value: letters, digits and _."""
    found = plain(name) or "column"
    return found if found.isidentifier() else f"_{found}"
