"""Predicates: Boolean conditions in JSON, read and checked, and the clause that decides one.

One grammar serves both sides: an ad's predicate reads fields of the user and the context, a request's reads fields of
the ads.

    {"all": [p, ...]}   {"any": [p, ...]}   {"not": p}
    {"field": "country", "in": ["nl", "de"]}                    categorical; multi: one of its values is in the set
    {"field": "age", "at_least": 21, "at_most": 65}             dense; one bound or both
    {"field": "place", "near": [{"lat": 52, "lon": 4.3, "km": 5}]}      location; within one of the circles
    {"field": "place", "away_from": [{"lat": 52, "lon": 4.3, "km": 5}]} location; known, and outside all of them

A clause about a missing value does not hold, so its `not` does. Bounds are inclusive. Values are compared as text: 7
equals "7". An empty `all` holds; an empty `any` or `in` does not. Nothing is evaluated as code.

`predicate_program` evaluates many predicates for one request, `ad_filter` one predicate for all ads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as short  # values may be long, and nested deeper than repr can go
from typing import Any

import numpy as np

from index_store.declaration.spec import Kind
from index_store.declaration.values import FeatureError, as_key
from index_store.targeting.geography import Circle, as_circle

MAX_DEPTH = 16
"""Deepest nesting of predicates, the clause included."""

MAX_PARTS = 100
"""Most clauses and connectives in one predicate: each clause costs work in proportion to the ads that match it."""

MAX_OPERANDS = 10_000
"""Most values in one `in`."""

MAX_CIRCLES = 500
"""Most circles in one clause: each is compared with the position of every request."""

_LARGEST = float(np.finfo(np.float32).max)
_FORMS = 'give {"all": [...]}, {"any": [...]}, {"not": ...}, or a clause {"field": ..., "in": [...]}'
_INSTEAD_OF_IN: Mapping[Kind, str] = {"dense": "give at_least or at_most", "location": "give near or away_from"}
_CIRCLES = 'give a list of {"lat": ..., "lon": ..., "km": ...}'


class PredicateError(ValueError):
    """A malformed predicate.

    Attributes:
        path: position in the predicate, such as `targeting.all[1].in[0]`.
        fact: what was found there, beginning with the path.
        remedy: what to do.
    """

    def __init__(self, path: str, fact: str, remedy: str) -> None:
        super().__init__(f"{path} {fact}; {remedy}")
        self.path, self.fact, self.remedy = path, f"{path} {fact}", remedy


@dataclass(frozen=True)
class AllOf:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class AnyOf:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Not:
    part: Predicate


@dataclass(frozen=True)
class OneOf:
    """Clause `in`: `values` are canonical bytes, sorted and unique."""

    field: str
    values: tuple[bytes, ...]


@dataclass(frozen=True)
class Within:
    """Clause of a dense field with inclusive bounds; None if a bound is absent."""

    field: str
    at_least: float | None
    at_most: float | None


@dataclass(frozen=True)
class Near:
    """Clause of a location: within one of some circles (`near`) or `outside` all of them (`away_from`).

    `circles` are sorted and unique. Without a position neither holds.
    """

    field: str
    circles: tuple[Circle, ...]
    outside: bool


Clause = OneOf | Within | Near
Predicate = AllOf | AnyOf | Not | OneOf | Within | Near


def parse_predicate(raw: object, kinds: Mapping[str, Kind], root: str = "targeting") -> Predicate:
    """Reads a predicate from decoded JSON.

    Args:
        raw: the JSON.
        kinds: field -> kind, of all fields that it may read.
        root: start of paths in errors.

    Raises:
        PredicateError: a clause is malformed, names an unknown field or one of another kind, or a limit is exceeded.
    """
    return _Reader(kinds, root).predicate(raw, root, 1)


def parse_text(text: str, kinds: Mapping[str, Kind], root: str = "targeting") -> Predicate:
    """Reads a predicate from JSON text.

    Raises:
        PredicateError: it is not valid JSON, or as in `parse_predicate`.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PredicateError(root, f"is not valid JSON, {short(text)} ({error})", _FORMS) from error
    return parse_predicate(raw, kinds, root)


def to_json(predicate: Predicate) -> dict[str, Any]:
    """The predicate as JSON again; predicates that read the same values have the same."""
    match predicate:
        case AllOf(parts):
            return {"all": [to_json(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [to_json(part) for part in parts]}
        case Not(part):
            return {"not": to_json(part)}
        case OneOf(field, values):
            return {"field": field, "in": [value.decode() for value in values]}
        case Within(field, at_least, at_most):
            bounds = {"at_least": at_least, "at_most": at_most}
            return {"field": field, **{name: bound for name, bound in bounds.items() if bound is not None}}
        case Near(field, circles, outside):
            return {"field": field, "away_from" if outside else "near": [circle._asdict() for circle in circles]}


def to_text(predicate: Predicate) -> str:
    """Canonical JSON text."""
    return json.dumps(to_json(predicate), separators=(",", ":"), ensure_ascii=False)


def clauses_of(predicate: Predicate) -> Iterator[Clause]:
    """All clauses of a predicate, from the first to the last."""
    match predicate:
        case Not(part):
            yield from clauses_of(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from clauses_of(part)
        case OneOf() | Within() | Near():
            yield predicate


def deciding_clause(predicate: Predicate, holds: Callable[[Clause], bool], path: str = "targeting") -> (
        tuple[bool, str, Predicate]):
    """Whether a predicate holds, and the first clause that alone decides it.

    If all parts of a connective agree, the first stands for them.

    Returns:
        The truth, the path of the clause, and the clause; an empty connective stands for itself.
    """
    match predicate:
        case Not(part):
            truth, where, clause = deciding_clause(part, holds, f"{path}.not")
            return not truth, where, clause
        case AllOf(parts) | AnyOf(parts):
            decisive = isinstance(predicate, AnyOf)
            name = "any" if decisive else "all"
            found = [deciding_clause(part, holds, f"{path}.{name}[{at}]") for at, part in enumerate(parts)]
            if not found:
                return not decisive, path, predicate
            return next((reason for reason in found if reason[0] == decisive), found[0])
        case OneOf() | Within() | Near():
            return holds(predicate), path, predicate


class _Reader:
    """Walks one predicate and counts its parts."""

    def __init__(self, kinds: Mapping[str, Kind], root: str) -> None:
        self._kinds, self._root, self._parts = kinds, root, 0

    def predicate(self, raw: object, path: str, depth: int) -> Predicate:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise PredicateError(self._root, f"has more than {MAX_PARTS} clauses and connectives",
                                 "put values of one field into one `in`")
        if depth > MAX_DEPTH:
            raise PredicateError(path, f"lies {depth} deep, {MAX_DEPTH} are allowed", "flatten it")
        if not isinstance(raw, dict):
            raise PredicateError(path, f"is {short(raw)}, not an object", _FORMS)
        match sorted(map(str, raw)):
            case [("all" | "any") as name]:
                parts = raw[name]
                if not isinstance(parts, list):
                    raise PredicateError(f"{path}.{name}", f"is {short(parts)}, not a list",
                                         "give a list of predicates")
                read = tuple(self.predicate(part, f"{path}.{name}[{at}]", depth + 1) for at, part in enumerate(parts))
                return AllOf(read) if name == "all" else AnyOf(read)
            case ["not"]:
                return Not(self.predicate(raw["not"], f"{path}.not", depth + 1))
            case ["field", "in"]:
                return self._one_of(raw, path)
            case ["at_least", "field"] | ["at_most", "field"] | ["at_least", "at_most", "field"]:
                return self._within(raw, path)
            case ["away_from", "field"]:
                return self._near(raw, path, "away_from")
            case ["field", "near"]:
                return self._near(raw, path, "near")
            case keys:
                raise PredicateError(path, f"has the keys {short(keys)}, which do not make a predicate", _FORMS)

    def _one_of(self, raw: Mapping[str, Any], path: str) -> OneOf:
        name, kind = self._field(raw, path)
        if kind in _INSTEAD_OF_IN:
            raise PredicateError(f"{path}.in", f"is a set, but {name!r} is a {kind} field", _INSTEAD_OF_IN[kind])
        values = raw["in"]
        if not isinstance(values, list):
            raise PredicateError(f"{path}.in", f"is {short(values)}, not a list", "give a list of values")
        if len(values) > MAX_OPERANDS:
            raise PredicateError(f"{path}.in", f"has {len(values)} values, {MAX_OPERANDS} are allowed", "give fewer")
        return OneOf(name, tuple(sorted(_keys(values, f"{path}.in"))))

    def _within(self, raw: Mapping[str, Any], path: str) -> Within:
        name, kind = self._field(raw, path)
        at_least, at_most = (_bound(raw, path, bound) for bound in ("at_least", "at_most"))
        if kind != "dense":
            bound = "at_most" if at_least is None else "at_least"
            raise PredicateError(f"{path}.{bound}", f"is a bound, but {name!r} is a {kind} field",
                                 _INSTEAD_OF_IN.get(kind, "give in, with a list of values"))
        return Within(name, at_least, at_most)

    def _near(self, raw: Mapping[str, Any], path: str, key: str) -> Near:
        name, kind = self._field(raw, path)
        path = f"{path}.{key}"
        if kind != "location":
            raise PredicateError(path, f"is about places, but {name!r} is a {kind} field",
                                 "name a context field of kind location")
        circles = raw[key]
        if not isinstance(circles, list):
            raise PredicateError(path, f"is {short(circles)}, not a list", _CIRCLES)
        if not 0 < len(circles) <= MAX_CIRCLES:
            raise PredicateError(path, f"has {len(circles)} circles, 1 to {MAX_CIRCLES} are allowed", _CIRCLES)
        return Near(name, tuple(sorted({_circle(one, f"{path}[{at}]") for at, one in enumerate(circles)})),
                    key == "away_from")

    def _field(self, raw: Mapping[str, Any], path: str) -> tuple[str, Kind]:
        name = raw["field"]
        if not isinstance(name, str) or name not in self._kinds:
            raise PredicateError(f"{path}.field", f"is {short(name)}, not a field that can be read here",
                                 f"use one of {', '.join(sorted(self._kinds)) or '(there are none)'}")
        return name, self._kinds[name]


def _circle(value: object, path: str) -> Circle:
    try:
        return as_circle(value, path)
    except FeatureError as error:
        raise PredicateError(error.name, error.fact.removeprefix(error.name).strip(), error.remedy) from error


def _keys(values: list[object], path: str) -> set[bytes]:
    keys: set[bytes] = set()
    for at, value in enumerate(values):
        try:
            keys.add(as_key(value, ""))  # the path costs more than the key, so it is made for errors only
        except FeatureError as error:
            raise PredicateError(f"{path}[{at}]", error.fact.strip(), error.remedy) from error
    return keys


def _bound(raw: Mapping[str, Any], path: str, name: str) -> float | None:
    if name not in raw:
        return None
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PredicateError(f"{path}.{name}", f"is {short(value)}, a {type(value).__name__}", "give a number")
    if abs(value) > _LARGEST or not math.isfinite(value):
        raise PredicateError(f"{path}.{name}", f"is {value!r:.40}", "give a finite 32-bit number")
    return float(value)
