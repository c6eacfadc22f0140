"""Plain predicates: one predicate at a time, from its JSON and raw values, to check the compiled ones against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from index_store.targeting.geography import EARTH_KM


def holds(predicate: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a predicate holds for the raw values of a request, by field; a missing one has no entry."""
    if "all" in predicate:
        return all(holds(part, values) for part in predicate["all"])
    if "any" in predicate:
        return any(holds(part, values) for part in predicate["any"])
    if "not" in predicate:
        return not holds(predicate["not"], values)
    value = values.get(predicate["field"])
    if value is None:
        return False
    if "near" in predicate:
        return any(kilometres(value, circle) <= circle["km"] for circle in predicate["near"])
    if "away_from" in predicate:
        return all(kilometres(value, circle) > circle["km"] for circle in predicate["away_from"])
    if "in" in predicate:
        return not set(value if isinstance(value, list) else [value]).isdisjoint(predicate["in"])
    return bool(predicate.get("at_least", -math.inf) <= value <= predicate.get("at_most", math.inf))


def kilometres(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Great-circle distance of two points in degrees, by the haversine formula."""
    lat, lon, lat_2, lon_2 = map(math.radians, (one["lat"], one["lon"], other["lat"], other["lon"]))
    haversine = math.sin((lat - lat_2) / 2) ** 2 + math.cos(lat) * math.cos(lat_2) * math.sin((lon - lon_2) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, haversine)))
