"""A synthetic population for the ads of a public ads library, whose file names no users.

Every marginal is taken from the ads: a value is as frequent among the users as among the ads that ask for it, an age by
the brackets that hold it. State, district, metro, postal code and language are drawn among what the ads of the user's
country name, independently of each other: the file does not say which postal code lies in which state. A position lies
in or near a circle that an ad of the country names. What is assumed, since no ad tells: how many values of a list a
user has (LIST_SLOTS), and how many positions are known (PLACE_KNOWN).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index_store.targeting.geography import Circle
from model.sources.ad_targeting import AUDIENCE, FROM_COLUMN, LOCATIONS, MULTI, bracket, circles_of, values_of
from model.sources.draws import Draws
from model.sources.synthetic import lists

AGES = np.arange(13, 66)
LIST_SLOTS, SLOT_FILLED = 4, 0.5
PLACE_KNOWN = 0.7
SPREAD, MOST_KM = 1.5, 150.0
"""A position lies within SPREAD radii of the centre of a circle, and within MOST_KM."""

KM_A_DEGREE = 111.195

_OF_COUNTRY = ("state", "district", "metro", "postal", "language")


@dataclass(frozen=True)
class _Choice:
    """Values with their weights; a draw of none where there is nothing to choose from."""

    values: tuple[Any, ...]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, found: Iterable[Any]) -> _Choice:
        counts = sorted(Counter(found).items())
        return cls(tuple(value for value, _ in counts), np.array([count for _, count in counts], np.float64))

    def drawn(self, draws: Draws, stream: str, counters: NDArray[np.int64]) -> list[Any]:
        if not self.values:
            return [None] * len(counters)
        return [self.values[at] for at in draws.chosen(stream, counters, self.weights).tolist()]


@dataclass(frozen=True)
class People:
    """Drawn users.

    Attributes:
        table: the columns of AUDIENCE.
        places: (N, 2) float64 latitude and longitude; NaN where it is not known.
    """

    table: pa.Table
    places: NDArray[np.float64]

    def contexts(self) -> list[dict[str, Any]]:
        """Each user as the context of a request, where all of AUDIENCE are context fields."""
        known = ~np.isnan(self.places[:, 0])
        return [{name: value for name, value in row.items() if value is not None}
                | ({"place": {"lat": float(lat), "lon": float(lon)}} if here else {})
                for row, (lat, lon), here in zip(self.table.to_pylist(), self.places, known, strict=True)]


class Population:
    """Draws users by the frequencies of what ads ask for.

    Args:
        rows: of the file.
        draws: all random numbers.
    """

    def __init__(self, rows: Sequence[Mapping[str, str]], draws: Draws) -> None:
        self._draws = draws
        self._ages = _age_weights([row["age"] for row in rows if row["age"]])
        columns = FROM_COLUMN | {name: f"{column}_included" for name, column in LOCATIONS.items()}
        self._columns = columns
        self._anywhere = {name: _Choice.of(value for row in rows for value in values_of(row[column]))
                          for name, column in columns.items() if name not in _OF_COUNTRY}
        self._audience_share = sum(bool(row[columns["audiences"]]) for row in rows) / len(rows)
        by_country: dict[str, list[Mapping[str, str]]] = {}
        for row in rows:
            by_country.setdefault(row["country"], []).append(row)
        self._by_country = {country: self._of_country(ads) for country, ads in by_country.items()}

    def _of_country(self, ads: Sequence[Mapping[str, str]]) -> dict[str, _Choice]:
        found = {name: _Choice.of(value for ad in ads for value in values_of(ad[self._columns[name]]))
                 for name in _OF_COUNTRY}
        circles = (circle for ad in ads if ad["radius_included"] for circle in circles_of(ad["radius_included"]))
        return found | {"place": _Choice.of(circles)}

    def people(self, rows: NDArray[np.int64]) -> People:
        """The users of some numbers (N,), the same whichever others are drawn."""
        draws = self._draws
        columns: dict[str, pa.Array] = {"years": pa.array(AGES[draws.chosen("years", rows, self._ages)], pa.float32())}
        for name, choice in self._anywhere.items():
            columns[name] = (self._list(name, choice, rows) if name in MULTI
                             else pa.array(choice.drawn(draws, name, rows), pa.string()))
        countries = np.array(columns["country"].to_pylist())
        places, drawn = np.full((len(rows), 2), np.nan), {name: np.full(len(rows), None) for name in _OF_COUNTRY}
        for country, choices in self._by_country.items():
            at = np.flatnonzero(countries == country)
            for name, values in drawn.items():
                values[at] = choices[name].drawn(draws, name, rows[at])
            places[at] = self._places(choices["place"], rows[at])
        columns |= {name: pa.array(values.tolist(), pa.string()) for name, values in drawn.items()}
        return People(pa.table({field.name: columns[field.name] for field in AUDIENCE}), places)

    def _list(self, name: str, choice: _Choice, rows: NDArray[np.int64]) -> pa.Array:
        slots = 1 if name == "audiences" else LIST_SLOTS
        filled = self._audience_share if name == "audiences" else SLOT_FILLED
        counters = rows[:, None] * slots + np.arange(slots)
        if not choice.values:
            return pa.array([[]] * len(rows), pa.list_(pa.string()))
        return lists(self._draws.chosen(name, counters, choice.weights),
                     self._draws.uniform(f"has {name}", counters) < filled, pa.array(choice.values))

    def _places(self, choice: _Choice, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        if not choice.values or not len(rows):
            return np.full((len(rows), 2), np.nan)
        draws = self._draws
        lat, lon, km = np.array(choice.drawn(draws, "place", rows), np.float64).reshape(-1, len(Circle._fields)).T
        far = np.minimum(SPREAD * km, MOST_KM) * np.sqrt(draws.uniform("how far", rows)) / KM_A_DEGREE
        angle = 2 * np.pi * draws.uniform("direction", rows)
        places = np.stack([np.clip(lat + far * np.sin(angle), -90, 90),
                           lon + far * np.cos(angle) / np.maximum(np.cos(np.radians(lat)), 0.01)], axis=1)
        places[:, 1] = (places[:, 1] + 180) % 360 - 180
        places[draws.uniform("place known", rows) >= PLACE_KNOWN] = np.nan
        return places


def _age_weights(brackets: Sequence[str]) -> NDArray[np.float64]:
    """Weight of each of AGES: the brackets that hold it, each over the number of ages that it holds."""
    weights = np.zeros(len(AGES))
    for text, count in Counter(brackets).items():
        youngest, oldest = bracket(text)
        held = ((youngest or 0) <= AGES) & ((oldest or AGES[-1]) >= AGES)
        weights += count * held / max(1, held.sum())
    return weights if weights.any() else np.ones(len(AGES))
