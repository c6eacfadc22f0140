"""Roles of columns: which one holds user ids, ad ids and times, by their names and values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from index_store.declaration.nearest import suggestion
from index_store.declaration.values import FeatureError
from model.infer.columns import Column, quoted
from model.infer.guess import Guess
from model.infer.reading import Log

NONE = "none"
"""Said instead of a column: there is none."""

PEOPLE = ("user", "customer", "cust", "member", "visitor", "client", "person", "profile", "account", "subscriber",
          "reader", "viewer", "buyer", "shopper", "reviewer", "u", "uid", "fullvisitor", "msno")
DEVICES = ("session", "cookie", "device", "browser", "ifa", "idfa", "gaid")
"""Whoever their ids name may be several people, or one of several that are one person."""

THINGS = ("ad", "ads", "creative", "banner", "offer", "item", "product", "movie", "film", "song", "track", "book",
          "article", "news", "video", "sku", "asin", "isbn", "recipe", "joke", "game", "app", "artist", "business",
          "restaurant", "hotel", "poi", "venue", "listing", "content", "doc", "title", "anime", "location", "place",
          "campaign", "merchant", "i", "iid", "aid")
TIMES = ("timestamp", "time", "ts", "datetime", "event_time", "click_time", "event_timestamp", "created_at",
         "unix_timestamp", "utc", "date", "day", "hour")
PLACES = ("position", "pos", "rank", "slot")
"""Last words of the names of columns that say where in an answer an ad was shown."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Columns of the events that a person named; None for one that is to be guessed, NONE for one there is not."""

    user: str | None = None
    ad: str | None = None
    time: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Columns of the events: user id and time are None if there are none."""

    user: str | None
    ad: str
    time: str | None


def plain(name: str) -> str:
    """A name in lower case with `_` between its words: `movieId`, `Movie ID` and `movie_id:token` are `movie_id`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.split(":")[0].strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def is_position(name: str) -> bool:
    """Whether a column is named like the place of an ad in an answer."""
    return plain(name).split("_")[-1] in PLACES


def find_roles(log: Log, given: Given) -> tuple[Roles, list[Guess]]:
    """The roles of the events' columns, with the reasons.

    Raises:
        FeatureError: no column can hold ad ids, or one that was given is not there.
    """
    columns, guesses = log.columns["events"], []
    usable = [c for c in columns if c.type in ("integer", "text")]
    user = _named(log, given.user) if given.user else _best(
        [c for c in usable if _stem(c.name) not in DEVICES or plain(c.name) != _stem(c.name)], (*PEOPLE, *DEVICES))
    if given.user is not None:
        why = "you said so"
    elif user is None:
        why = ("no column is named like a user, so each event is of a user of its own, without a history; name the "
               "column with --user-id if there is one")
    else:
        why = f"named like one; {_repeats(log, user)}"
        if _stem(user) in DEVICES:
            why += f". A {_stem(user)} is not a person: the history is that of the {_stem(user)}"
    guesses.append(Guess("user_id", user or NONE, why))
    rest = [c for c in usable if c.name != user]
    ad = _named(log, given.ad) if given.ad else _best(rest, THINGS)
    if ad is None:
        names = [c.name for c in columns]
        raise FeatureError("ad_id", f"{log.shown['events']}: no column is named like the id of an ad among "
                                    f"{', '.join(names)}",
                           f"{suggestion('ad_id', names) or suggestion('item_id', names)}name it with --ad-id COLUMN")
    if ad == user:
        raise FeatureError("ad_id", f"column {ad!r} is given as user id and as ad id", "name two columns")
    guesses.append(Guess("ad_id", ad, "you said so" if given.ad else f"named like one; {_repeats(log, ad)}"))
    time, reason = _time(log, given, {user, ad})
    guesses.append(Guess("timestamp", time or NONE, reason))
    return Roles(user=user, ad=ad, time=time), guesses


def _named(log: Log, name: str) -> str | None:
    return None if name == NONE else log.column("events", name).name


def _stem(name: str) -> str:
    """What an id is of: `user` of `user_id`, `UserID` and `userid`."""
    return re.sub(r"_?(id|key|hash|code|num|number|uuid|guid)$", "", plain(name)) or plain(name)


def best_id(columns: Iterable[Column], side: str) -> str | None:
    """The column of a table of users or ads that holds their ids: named like one, or `id`, and unique."""
    unique = [c for c in columns if c.type in ("integer", "text") and c.distinct == c.rows - c.nulls]
    plainly = [c.name for c in unique if plain(c.name) in ("id", "key", "index")]
    return _best(unique, PEOPLE + DEVICES if side == "users" else THINGS) or next(iter(plainly), None)


def _best(columns: Sequence[Column], stems: Sequence[str]) -> str | None:
    """The column whose name has the earliest of some stems; `..._id` goes before a bare stem."""
    ranked = sorted((stems.index(_stem(c.name)), plain(c.name) == _stem(c.name), at)
                    for at, c in enumerate(columns) if _stem(c.name) in stems)
    if not ranked:  # such as target_user_id
        ranked = sorted((stems.index(last), False, at) for at, c in enumerate(columns)
                        if plain(c.name) != _stem(c.name) and (last := _stem(c.name).split("_")[-1]) in stems)
    return columns[ranked[0][2]].name if ranked else None


def _repeats(log: Log, name: str) -> str:
    column = log.column("events", name)
    return f"{column.distinct:,} ids in {column.rows:,} events"


def _time(log: Log, given: Given, taken: set[str | None]) -> tuple[str | None, str]:
    """The column of times and why it is, or why there is none."""
    if given.time:
        name = _named(log, given.time)
        if name is not None and log.column("events", name).type not in ("integer", "number", "time", "date"):
            column = log.column("events", name)
            row = log.con.execute(f"SELECT rowid, {quoted(name)} FROM events WHERE {quoted(name)} IS NOT NULL "
                                  "ORDER BY rowid LIMIT 1").fetchone() or (0, None)
            raise FeatureError(name, f"{log.shown['events']}: column {name!r}, row {row[0]}: value {row[1]!r:.60} is "
                                     f"{column.type}, and no time",
                               column.note or "name a column of times, dates or numbers")
        return name, "you said so"
    rest = [c for c in log.columns["events"] if c.name not in taken and not c.nulls]
    timed = [c for c in rest if c.type in ("time", "date") or (
        c.type in ("integer", "number") and (plain(c.name) in TIMES or _is_clock(c)) and not _is_hour(c))]
    ranked = sorted(timed, key=lambda c: (TIMES.index(plain(c.name)) if plain(c.name) in TIMES else len(TIMES),
                                          c.type not in ("time", "integer", "number")))
    if not ranked:
        return None, "no column without gaps holds times, so the history of a user has no order"
    column = ranked[0]
    if column.low == column.high:
        return None, f"{column.name!r} is {column.low} throughout, so the history of a user has no order"
    days = "; events of one day keep their order in the table" if column.type == "date" else ""
    return column.name, f"{column.type} from {column.low} to {column.high}, and named like a time{days}"


def _is_hour(column: Column) -> bool:
    """Whether a column holds hours of a day, which come again."""
    return plain(column.name) == "hour" and column.low >= 0 and column.high <= 24


def _is_clock(column: Column) -> bool:
    """Whether a column of numbers can be seconds or milliseconds since 1970, of a time since 1995, by its name too."""
    return bool(plain(column.name).endswith(("_time", "_at", "_ts", "_timestamp", "_date"))
                and column.low >= 8e8 and (column.high < 4e9 or 8e11 <= column.low < 4e12))
