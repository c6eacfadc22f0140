"""Sides: which columns of the events describe the user, which the ad, and which the moment.

A column describes users if two events of one user have the same value in it about always, more often than any two
events have. Two events of one ad, likewise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from model.infer.columns import Column, quoted
from model.infer.guess import Guess
from model.infer.reading import Log
from model.infer.roles import PEOPLE, THINGS, Roles, is_position, plain

STEADY = 0.8
"""Agreement beyond chance from which a column describes users or ads: some attributes, such as prices, change."""

OF_PEOPLE = ("age", "gender", "sex", "country", "occupation", "zip", "income", "interests", "topics")
OF_THINGS = ("brand", "category", "cat", "price", "genre", "genres", "advertiser", "tags", "format", "size", "color")
"""Words that decide where a log is too small to tell."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Columns of the events, by what they describe.

    Attributes:
        user, ad: whose they are.
        moment: those of neither, which stay columns of the events.
        context: name of a column of the moment that may be context -> how that is known.
    """

    user: tuple[Column, ...]
    ad: tuple[Column, ...]
    moment: tuple[Column, ...]
    context: Mapping[str, str]


def find_sides(log: Log, roles: Roles, taken: Collection[str]) -> tuple[Sides, list[Guess]]:
    """Sorts the columns of the events.

    Args:
        log: the tables.
        roles: of the columns of the events.
        taken: columns that are no fields.
    """
    users: list[Column] = []
    ads: list[Column] = []
    moment: list[Column] = []
    context: dict[str, str] = {}
    guesses = []
    for column in log.columns["events"]:
        if column.name in (*taken, roles.user, roles.ad, roles.time) or column.type in ("empty", "other"):
            continue
        if column.distinct < 2 or column.type == "time":
            moment.append(column)
            why = "a time, and not that of the event" if column.type == "time" else f"{column.example!r} or missing"
            guesses.append(Guess(column.name, "left out", why))
            continue
        of_user = agreement(log, roles.user, column.name) if roles.user else None
        of_ad = agreement(log, roles.ad, column.name)
        steady = {side: found for side, found in (("user", of_user), ("ad", of_ad))
                  if found is not None and found >= STEADY}
        side = max(steady, key=lambda one: steady[one]) if steady else None
        hint = _by_name(column.name)
        if hint and ((len(steady) == 2 and steady["user"] == steady["ad"]) or (of_user is None and of_ad is None)):
            side = hint
        if side is None and not roles.user and not is_position(column.name):  # it belongs to whoever asks
            users.append(column)
        elif side is None and of_user is None and of_ad is not None and not is_position(column.name):
            users.append(column)
            guesses.append(Guess(column.name, "of the user", "it changes within an ad, and users have one event each"))
        elif side is None:
            moment.append(column)
            of_users = f"two events of a user agree {_percent(of_user)}, " if roles.user else ""
            context[column.name] = f"{of_users}{'' if of_users else 'two '}of an ad {_percent(of_ad)} beyond chance"
        else:
            (users if side == "user" else ads).append(column)
            if steady.get(side, 1) < 1:
                guesses.append(Guess(column.name, f"of the {side}", f"two events of one agree {_percent(steady[side])} "
                                     "beyond chance; the latest value is taken"))
    return Sides(user=tuple(users), ad=tuple(ads), moment=tuple(moment), context=context), guesses


def agreement(log: Log, key: str, column: str) -> float | None:
    """How much more often two events with one key agree in a column than any two: 1 always, 0 as by chance.

    None if no key has two events with a value. Missing values are passed over.
    """
    k, c = quoted(key), quoted(column)
    row = log.con.execute(f"""
        WITH cells AS (SELECT {k} AS k, {c} AS c, count(*)::DOUBLE AS n FROM events
                       WHERE {c} IS NOT NULL AND {k} IS NOT NULL GROUP BY ALL),
             keys AS (SELECT sum(n) AS n, sum(n * (n - 1)) AS alike FROM cells GROUP BY k),
             vals AS (SELECT sum(n) AS n FROM cells GROUP BY c)
        SELECT (SELECT sum(alike) FROM keys), (SELECT sum(n * (n - 1)) FROM keys),
               (SELECT sum(n * (n - 1)) FROM vals), (SELECT sum(n) FROM vals)""").fetchone()
    assert row is not None
    alike, pairs, by_chance, total = (float(value or 0) for value in row)
    if not pairs or total < 2:
        return None
    chance = by_chance / (total * (total - 1))
    return 1.0 if chance >= 1 else (alike / pairs - chance) / (1 - chance)


def _by_name(name: str) -> str | None:
    words = plain(name).split("_")
    if words[0] in PEOPLE or set(words) & set(OF_PEOPLE):
        return "user"
    return "ad" if words[0] in THINGS or set(words) & set(OF_THINGS) else None


def _percent(share: float | None) -> str:
    return "(none has two)" if share is None else f"{max(share, 0):.0%}"
