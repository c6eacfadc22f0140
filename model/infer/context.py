"""Context: which columns of the events describe the moment of a request, such that a model may read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from index_store.declaration.context_fields import REQUEST_ID
from index_store.declaration.spec import FieldSpec
from model.infer.columns import Column, quoted
from model.infer.guess import Guess
from model.infer.kinds import find_field
from model.infer.labels import CLICKS, KINDS, OUTCOMES, RATINGS, Labels
from model.infer.reading import Log
from model.infer.roles import Roles, is_position, plain

EACH = 20
"""Events for each value of a field, on average, from which what it changes can be learned."""

MANY = 1_000
"""Most values of a field."""

TELLING = 0.5
"""Share of the positives with a value that no negative has, from which a column tells of what came after."""

AGAIN = 2
"""Runs of each value in the order of time, on average, below which values do not come again."""

BY_HAND = "declare it in context_fields by hand if requests know it"


@dataclass(frozen=True, kw_only=True)
class ContextField:
    """A context field that the model reads.

    Attributes:
        spec: its declaration; `serve_as` is set once the train events are known.
        column: of the events.
        sql: its value in a row of the events.
    """

    spec: FieldSpec
    column: Column
    sql: str


def find_context(log: Log, roles: Roles, labels: Labels, moment: Mapping[str, str],
                 taken: Collection[str]) -> tuple[list[ContextField], list[Guess]]:
    """Context fields among the columns of the moment, with the reasons, and why others are none.

    Args:
        log: the tables.
        roles, labels: of the columns of the events.
        moment: name of a column -> how it is known to describe neither users nor ads.
        taken: names that a context field cannot have.
    """
    fields: list[ContextField] = []
    guesses = []
    for name, fact in moment.items():
        column = log.column("events", name)
        found, guess = find_field(log, "events", column, "context")
        names = {other.lower() for other in (*taken, *labels.tasks, REQUEST_ID, *(one.spec.name for one in fields))}
        if found is None:
            guesses.append(replace(guess, why=f"{fact}; {guess.why}"))
            continue
        against = _of_name(labels, column, found.spec, names) or _of_values(log, roles, labels, column)
        if against:
            guesses.append(Guess(name, "left out", f"{fact}; {against}"))
            continue
        fields.append(ContextField(spec=replace(found.spec, model=True), column=column, sql=found.sql))
        if not served(column):
            guesses.append(Guess(found.spec.name, "context that the model reads",
                                 f"{fact}: it describes the moment, and requests give it as context; {guess.why}"))
    return fields, guesses


def served(column: Column) -> bool:
    """Whether a column is a place in an answer, which is served as the first one."""
    return column.type == "integer" and is_position(column.name)


def served_first(log: Log, fields: list[ContextField], train: str) -> tuple[list[FieldSpec], list[Guess]]:
    """The declarations of context fields, in which places in an answer are served as the first one.

    Args:
        log: with the table `log_events`.
        fields: of it.
        train: SQL that is true for its train events.
    """
    specs, guesses = [], []
    for one in fields:
        if not served(one.column):
            specs.append(one.spec)
            continue
        name = one.spec.name
        row = log.con.execute(f"SELECT min({quoted(name)}) FROM log_events WHERE {train}").fetchone()
        assert row is not None
        if row[0] is None:
            guesses.append(Guess(name, "left out", "no train event has a value"))
            continue
        specs.append(replace(one.spec, serve_as=str(row[0])))
        guesses.append(Guess(name, f"context, served as {row[0]}",
                             f"named like a place in the answer, {one.column.low} to {one.column.high}: what an ad "
                             f"gains by its place is told from what it is worth, and scores are those at {row[0]}, the "
                             "first one, whatever a request says"))
    return specs, guesses


def _of_name(labels: Labels, column: Column, spec: FieldSpec, taken: Collection[str]) -> str:
    """Why a column of this name and kind cannot be read by the model as context; empty if it can."""
    if plain(column.name) in (*CLICKS, *OUTCOMES, *RATINGS, *KINDS):
        return "named like something that a user did, which no request knows"
    if spec.name.lower() in taken:
        return f"{spec.name!r} is the name of another field or column; rename one of the two"
    if served(column) and labels.negatives == "sampled":
        return ("a place in the answer, and a log of positives cannot tell what that does: bring a log of impressions "
                "to take it out")
    if spec.kind != "categorical":
        return f"{spec.kind}, and a model reads categorical context: cut numbers into ranges"
    return ""


def _of_values(log: Log, roles: Roles, labels: Labels, column: Column) -> str:
    """Why a column of such values cannot be read by the model as context; empty if it can."""
    if column.distinct > MANY or column.distinct * EACH > column.rows:
        return (f"{column.distinct:,} values in {column.rows:,} events, too many to learn what each changes: "
                f"context has at most {MANY:,} values, of {EACH} events each on average")
    if roles.time is not None and runs(log, roles.time, column) < AGAIN * column.distinct:
        return ("its values follow one another in time and do not come again, so that none that is learned will be "
                f"asked for; {BY_HAND}")
    share = telling(log, labels, column)
    if share >= TELLING:
        return (f"{share:.0%} of the positives have a value that no negative has, so it is known only afterwards; "
                f"{BY_HAND}")
    return ""


def runs(log: Log, time: str, column: Column) -> int:
    """Number of stretches of events with one value, in the order of time."""
    c = quoted(column.name)
    row = log.con.execute(f"""
        SELECT count(*) FILTER (c IS DISTINCT FROM former) FROM (
            SELECT {c} AS c, lag({c}) OVER (ORDER BY {quoted(time)}, rowid) AS former FROM events)""").fetchone()
    assert row is not None
    return int(row[0])


def telling(log: Log, labels: Labels, column: Column) -> float:
    """Share of the positives whose value, or the lack of one, no negative has; 0 in a log without negatives."""
    if labels.negatives == "sampled":
        return 0.0
    positive = " + ".join(f"({sql})" for sql in labels.tasks.values())
    row = log.con.execute(f"""
        SELECT coalesce(sum(positives) FILTER (positives = n), 0) / sum(positives)::DOUBLE FROM (
            SELECT count(*) AS n, count(*) FILTER ({positive} > 0) AS positives FROM events GROUP BY
            {quoted(column.name)})""").fetchone()
    assert row is not None
    return float(row[0] or 0)
