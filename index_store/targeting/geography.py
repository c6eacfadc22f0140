"""Geography: positions and circles on the globe, read from JSON, and which circles hold a position.

Distances are great-circle distances on a sphere. A circle is compared by its haversine, a quarter of the squared chord
between two unit vectors: exact for small circles too, the same at the poles, and on both sides of the date line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from reprlib import repr as short
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.values import FeatureError, as_number

EARTH_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""

LARGEST_KM = 20_015.0
"""Largest radius of a circle: such a one is the whole globe, but for a few metres."""


class Position(NamedTuple):
    """A point on the globe, in degrees."""

    lat: float
    lon: float


class Circle(NamedTuple):
    """The points within `km` of a point, the edge included; degrees and kilometres."""

    lat: float
    lon: float
    km: float


def as_position(value: object, name: str) -> Position:
    """Reads {"lat": ..., "lon": ...}.

    Raises:
        FeatureError: it is something else, or a number is out of range.
    """
    lat, lon = _numbers(value, name, Position._fields)
    return Position(_degrees(lat, 90, f"{name}.lat"), _degrees(lon, 180, f"{name}.lon"))


def as_circle(value: object, name: str) -> Circle:
    """Reads {"lat": ..., "lon": ..., "km": ...}.

    Raises:
        FeatureError: it is something else, or a number is out of range.
    """
    lat, lon, km = _numbers(value, name, Circle._fields)
    if not 0 < km <= LARGEST_KM:
        raise FeatureError(f"{name}.km", f"{name}.km is {km:g}", f"give a radius above 0, at most {LARGEST_KM:,.0f} km")
    return Circle(_degrees(lat, 90, f"{name}.lat"), _degrees(lon, 180, f"{name}.lon"), km)


def unit_vectors(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (N, 3) of points in degrees, (N,) each."""
    phi, theta = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], axis=-1)


def haversines(vectors: NDArray[np.float64], position: Position) -> NDArray[np.float64]:
    """sin^2(distance / 2 EARTH_KM) of a position from each of some points, given as unit vectors (N, 3): (N,)."""
    apart = vectors - unit_vectors(np.array(position.lat), np.array(position.lon))
    quarter: NDArray[np.float64] = np.einsum("ni,ni->n", apart, apart) / 4
    return quarter


def haversine_of(km: NDArray[np.float64]) -> NDArray[np.float64]:
    """sin^2(distance / 2 EARTH_KM) of distances (N,), at most LARGEST_KM each: (N,)."""
    angle: NDArray[np.float64] = np.sin(km / (2 * EARTH_KM)) ** 2
    return angle


def _numbers(value: object, name: str, keys: tuple[str, ...]) -> list[float]:
    wanted = f"give an object with {', '.join(keys)}"
    if not isinstance(value, Mapping):
        raise FeatureError(name, f"{name} is {short(value)}, a {type(value).__name__}", wanted)
    if set(value) != set(keys):
        raise FeatureError(name, f"{name} has the keys {short(sorted(map(str, value)))}", wanted)
    return [as_number(value[key], f"{name}.{key}") for key in keys]


def _degrees(value: float, most: int, name: str) -> float:
    if math.fabs(value) > most:
        raise FeatureError(name, f"{name} is {value:g}", f"give degrees from -{most} to {most}")
    return value
