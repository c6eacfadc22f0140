"""Targeting of the ads of a public ads library: one row of its file as a predicate.

Fields that describe the audience of an ad, and how the columns of the file read them:

    years                     `age`: a bracket such as 18-34, 35+ or 17-
    sex, country, os, connection, carrier, language, audiences, lifestyles, demographics      one of the values
    state, district, metro, postal, venues, place      one of all values and circles included, none of those excluded

`place` is a context field of kind location; the others are fields of users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from index_store.declaration.spec import FieldSpec
from index_store.targeting.geography import Circle, as_circle
from model.data.tables import DataError

PLACE = FieldSpec("place", "location")

FROM_COLUMN = {"sex": "gender", "country": "country", "os": "os", "connection": "connection", "carrier": "carrier",
               "language": "language", "audiences": "segments", "lifestyles": "interests",
               "demographics": "demographics"}
"""Audience field -> the column that lists what an ad asks of it."""

LOCATIONS = {"state": "regions", "district": "districts", "metro": "metros", "postal": "postal", "venues": "places"}
"""Audience field -> the beginning of the columns of what is included and excluded; an ad asks for any that it names."""

MULTI = ("audiences", "lifestyles", "demographics", "venues")

AUDIENCE = (FieldSpec("years", "dense"),
            *(FieldSpec(name, "multi" if name in MULTI else "categorical") for name in (*FROM_COLUMN, *LOCATIONS)))
"""Fields of users that the predicates read."""

_BRACKET = re.compile(r"(\d+)(?:\+{1,2}|-(\d*))")
_CIRCLE = re.compile(r"latitude (\S+);longitude (\S+);radius (\S+)")
_BETWEEN = re.compile(r",(?![^(]*\))")
"""A comma that separates values; those within brackets are part of a value."""


def predicate_of(row: Mapping[str, str]) -> dict[str, Any]:
    """The predicate of one ad, as JSON.

    Raises:
        DataError: an entry of the row cannot be read.
    """
    parts: list[dict[str, Any]] = []
    if row["age"]:
        youngest, oldest = bracket(row["age"])
        bounds = {"at_least": youngest, "at_most": oldest}
        parts.append({"field": "years"} | {name: years for name, years in bounds.items() if years is not None})
    parts += [{"field": name, "in": values_of(row[column])} for name, column in FROM_COLUMN.items() if row[column]]
    included: list[dict[str, Any]] = [
        {"field": name, "in": values_of(row[f"{column}_included"])} for name, column in LOCATIONS.items()
        if row[f"{column}_included"]]
    if row["radius_included"]:
        included.append({"field": PLACE.name, "near": _circles_json(row["radius_included"])})
    if included:
        parts.append({"any": included} if len(included) > 1 else included[0])
    parts += [{"not": {"field": name, "in": values_of(row[f"{column}_excluded"])}}
              for name, column in LOCATIONS.items() if row[f"{column}_excluded"]]
    if row["radius_excluded"]:
        parts.append({"field": PLACE.name, "away_from": _circles_json(row["radius_excluded"])})
    return {"all": parts}


def values_of(text: str) -> list[str]:
    """The distinct values of a list, in order."""
    return sorted({value.strip() for value in _BETWEEN.split(text) if value.strip()})


def bracket(text: str) -> tuple[int | None, int | None]:
    """Youngest and oldest age of a bracket, both included: 18-34, 35+ (also written 35++), or 17- (up to 17).

    Raises:
        DataError: it is none.
    """
    found = _BRACKET.fullmatch(text)
    if found is None:
        raise DataError(f"age is {text!r}; a bracket reads 18-34, 35+ or 17-")
    if found[2] == "":
        return None, int(found[1])
    return int(found[1]), None if found[2] is None else int(found[2])


def circles_of(text: str) -> list[Circle]:
    """The circles of a list.

    Raises:
        DataError: one is malformed, or lies outside the globe.
    """
    circles = []
    for part in text.split(","):
        found = _CIRCLE.fullmatch(part.strip())
        try:
            lat, lon, km = map(float, found.groups() if found else ())
            circles.append(as_circle({"lat": lat, "lon": lon, "km": km}, "radius"))
        except ValueError as error:  # FeatureError, too
            raise DataError(f"radius is {part!r} ({error}); a circle reads latitude 52.1;longitude 4.3;radius 5"
                            ) from error
    return circles


def _circles_json(text: str) -> list[dict[str, float]]:
    return [circle._asdict() for circle in circles_of(text)]
