"""A world that moves: every day ads end and others are born, interests drift, and users see ads on surfaces.

An impression is clicked if the ad is looked at, which depends on its surface and position alone, and then appeals, with
the probability of `world`. Surface and position are drawn independently of user and ad, so the log shows how often each
position is looked at. A click that converts does so after some time, a day on average. Fatigue counts the clicks up to
the evening before, so that all impressions of a day follow probabilities that are known in the morning.

The parameters are frozen, like those of `world`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.sources.domain_world import TrueDomains
from model.sources.draws import Draws, zipf
from model.sources.synthetic import EVENT_SKEW, FIRST_SECOND, Catalogue, shown
from model.sources.world import (
    CATEGORY_SKEW,
    RECENT_CLICKS,
    SLOTS,
    Ads,
    Shape,
    brands_of,
    click_logits,
    draw_ads,
    draw_users,
    rested_logits,
    sigmoid,
)

DAYS_BEFORE = 10
"""Days of the log before the first day on which something moves."""

DAY_SECONDS = 86_400
DRIFT = 0.01
"""Chance of each interest of a user to be replaced by another one, with its loyal brand, per day."""

CONVERSION_SECONDS = 86_400
"""Mean time from a click to its conversion, exponentially distributed."""


class Surface(NamedTuple):
    """A surface of the page.

    Attributes:
        share: of the impressions.
        positions: how many it has, each with as many impressions.
        fall: position k is looked at in k ** -fall of its impressions.
    """

    share: float
    positions: int
    fall: float


SURFACES = {"feed": Surface(0.6, 8, 0.4), "sidebar": Surface(0.25, 4, 1.0), "story": Surface(0.15, 1, 0.0)}


def looked_at() -> float:
    """Share of the impressions that are looked at."""
    return sum(surface.share * float(np.mean(np.arange(1, surface.positions + 1) ** -surface.fall))
               for surface in SURFACES.values())


@dataclass(frozen=True)
class Move:
    """What changed over night: rows of the ads that ended and of those that were born."""

    ended: NDArray[np.int64]
    born: NDArray[np.int64]


class MovingWorld:
    """The world on one day.

    Args:
        draws: all random numbers.
        ads: of the catalogue, which stays of this size.
        users: all of them.
        turnover: share of the ads that end every day.
        domains: how many domains differ in what people like; 0 for a world without.

    Attributes:
        domains: what they do; None without.
        shape: of the catalogue.
        people: the users as they are this morning.
        ads: all ads up to now, ended ones too.
        active: rows of the ads that are shown, ascending.
    """

    def __init__(self, draws: Draws, ads: int, users: int, turnover: float, domains: int = 0) -> None:
        self._draws, self.shape = draws, Shape.of(ads)
        self.domains = TrueDomains.of(draws, domains, self.shape) if domains else None
        self._rows = np.arange(users)
        self.people = draw_users(draws, self._rows, self.shape)
        self.active = np.arange(ads)
        self.ads = draw_ads(draws, self.active, self.shape)
        self.ends_daily = round(turnover * ads)
        self._viewers = np.exp(EVENT_SKEW * draws.normal("events of user", self._rows))

    def move(self, day: int) -> Move:
        """Ends some ads, brings as many new ones, and lets interests drift, in the night before a day."""
        luck = self._draws.uniform(f"ends before day {day}", self.active)
        ended = np.sort(self.active[np.argsort(luck, kind="stable")[:self.ends_daily]])
        born = len(self.ads.category) + np.arange(self.ends_daily)
        new = draw_ads(self._draws, born, self.shape)
        self.ads = Ads(*(np.concatenate([getattr(self.ads, f.name), getattr(new, f.name)]) for f in fields(Ads)))
        self.active = np.concatenate([np.setdiff1d(self.active, ended, assume_unique=True), born])
        self._drift(day)
        return Move(ended, born)

    def _drift(self, day: int) -> None:
        slots = self._rows[:, None] * SLOTS + np.arange(SLOTS)
        changed = self._draws.uniform(f"drifts before day {day}", slots) < DRIFT
        interests, departments, brands = (part.copy() for part in (self.people.interests, self.people.departments,
                                                                   self.people.brands))
        interests[changed] = self._draws.chosen(f"interest of day {day}", slots[changed],
                                                zipf(self.shape.categories, CATEGORY_SKEW))
        departments[changed] = interests[changed] % self.shape.departments
        brands[changed] = brands_of(self._draws, f"loyal brand of day {day}", slots[changed], departments[changed],
                                    self.shape)
        self.people = replace(self.people, interests=interests, departments=departments, brands=brands)

    def impressions(self, day: int, events: int) -> dict[str, NDArray[Any]]:
        """The impressions of a day, in order of user and time; its clicks tire the users from the next day on.

        Args:
            day: up to DAYS_BEFORE - 1 before 0.
            events: of every day.

        Returns:
            Columns (events,): request (its number), user and ad (rows), timestamp, placement (index into SURFACES),
            position (from 1), click, conversion, conversion_at, 0 where there is none, and domain (its number, 0
            in a world without).
        """
        draws, since = self._draws, day + DAYS_BEFORE - 1
        number = since * events + np.arange(events)
        user = draws.chosen("viewer", number, self._viewers).astype(np.int64)
        second = since * DAY_SECONDS + draws.integers("second", number, DAY_SECONDS)
        order = np.lexsort((second, user))
        number, user, second = number[order], user[order], second[order]
        catalogue = Catalogue.of(self.ads.take(self.active), self.shape)
        ad = self.active[shown(draws, number, self.people, user, catalogue)]
        viewers, ads = self.people.take(user), self.ads.take(ad)
        rested, conversion_logit = rested_logits(viewers, ads)
        domain = np.zeros(events, np.int64)
        if self.domains is not None:
            domain = self.domains.drawn(draws, number, user)
            effect = self.domains.effect(domain, viewers, ads)
            rested, conversion_logit = rested + effect.click, conversion_logit + effect.conversion
        placement, position = self._places(number)
        fall = np.array([surface.fall for surface in SURFACES.values()])[placement]
        seen = draws.uniform("looked at", number) < position ** -fall
        appeal = sigmoid(click_logits(rested, viewers.recent, ads.category))
        click = seen & (draws.uniform("click", number) < appeal)
        conversion = click & (draws.uniform("conversion", number) < sigmoid(conversion_logit))
        after = 1 - (CONVERSION_SECONDS * np.log1p(-draws.uniform("conversion delay", number))).astype(np.int64)
        self._tire(user[click], ads.category[click])
        timestamp = FIRST_SECOND + second
        return {"request": number, "user": user, "ad": ad, "timestamp": timestamp, "placement": placement,
                "position": position, "click": click, "conversion": conversion,
                "conversion_at": np.where(conversion, timestamp + after, 0), "domain": domain}

    def _places(self, number: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Surface and position, from 1, of each impression."""
        placement = self._draws.chosen("placement", number, np.array([one.share for one in SURFACES.values()]))
        positions = np.array([surface.positions for surface in SURFACES.values()])[placement]
        return placement, (1 + self._draws.integers("position", number, positions)).astype(np.int8)

    def _tire(self, user: NDArray[np.int64], category: NDArray[np.int32]) -> None:
        """Puts clicks, in order of user and time, before the users' recent ones."""
        count = np.bincount(user, minlength=len(self._rows))
        kept = np.arange(RECENT_CLICKS) - count[:, None]
        recent = np.where(kept >= 0, np.take_along_axis(self.people.recent, np.maximum(kept, 0), axis=1), -1)
        back = np.repeat(np.cumsum(count), count) - 1 - np.arange(len(user))
        last = back < RECENT_CLICKS
        recent[user[last], back[last]] = category[last]
        self.people = replace(self.people, recent=recent)
