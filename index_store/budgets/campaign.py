"""A campaign as it is declared: its daily budget, currency, time zone and frequency cap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, Self
from zoneinfo import ZoneInfo

from index_store.declaration.values import FeatureError

BUDGET, CURRENCY, TIME_ZONE, FREQUENCY_CAP = "daily_budget_micros", "currency", "time_zone", "frequency_cap"
"""Fields of a change of a campaign."""

NANOS = 1_000
"""Billionths in a millionth: what an impression costs that a CPM bid pays for is a whole number of billionths."""

MOST_MICROS = 10**15
"""Largest daily budget: a thousand million units of the currency."""

MOST_HOURS, MOST_IMPRESSIONS = 168, 100
"""Of a frequency cap."""


@dataclass(frozen=True)
class FrequencyCap:
    """A user gets no ad of the campaign after so many impressions within the last hours."""

    impressions: int
    hours: int


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What is declared of one campaign.

    Attributes:
        daily_budget: in micros, for each day of its time zone; None for no budget.
        currency: of the budget, three capital letters.
        time_zone: name in the database of the IANA.
        frequency_cap: None for none.
    """

    daily_budget: int | None
    currency: str
    time_zone: str
    frequency_cap: FrequencyCap | None = None

    @property
    def budget_nanos(self) -> int | None:
        return None if self.daily_budget is None else self.daily_budget * NANOS

    def to_fields(self) -> dict[str, Any]:
        """As the fields of a change."""
        cap = self.frequency_cap
        return {BUDGET: self.daily_budget, CURRENCY: self.currency, TIME_ZONE: self.time_zone,
                FREQUENCY_CAP: None if cap is None else {"impressions": cap.impressions, "hours": cap.hours}}

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Reads what `to_fields` gives."""
        cap = fields.get(FREQUENCY_CAP)
        return cls(daily_budget=fields[BUDGET], currency=fields[CURRENCY], time_zone=fields[TIME_ZONE],
                   frequency_cap=None if cap is None else FrequencyCap(cap["impressions"], cap["hours"]))

    @classmethod
    def declared(cls, *, daily_budget: int | None, currency: str, time_zone: str, frequency_cap: object) -> Self:
        """What a caller declares, the frequency cap as decoded JSON.

        Raises:
            FeatureError: a value is none that a campaign can have; its name is that of the field.
        """
        campaign = cls(daily_budget=daily_budget, currency=currency, time_zone=time_zone,
                       frequency_cap=None if frequency_cap is None else _parsed_cap(frequency_cap))
        campaign._check()
        return campaign

    def _check(self) -> None:
        if self.daily_budget is not None and not 0 <= self.daily_budget <= MOST_MICROS:
            raise FeatureError(BUDGET, f"{BUDGET} is {self.daily_budget}, outside 0..{MOST_MICROS}",
                               "give millionths of a unit of the currency, or null for no budget")
        if not re.fullmatch("[A-Z]{3}", self.currency):
            raise FeatureError(CURRENCY, f"currency is {short(self.currency)}, not three capital letters",
                               "give its code by ISO 4217, such as EUR")
        if zone_of(self.time_zone) is None:
            raise FeatureError(TIME_ZONE, f"time_zone is {short(self.time_zone)}, which the database of time zones "
                               "does not have", "give a name of the IANA, such as Europe/Berlin or UTC")


def _parsed_cap(raw: object) -> FrequencyCap:
    if not isinstance(raw, Mapping) or set(raw) != {"impressions", "hours"}:
        raise FeatureError(FREQUENCY_CAP, f"{FREQUENCY_CAP} is {short(raw)}",
                           'give impressions and hours, such as {"impressions": 3, "hours": 24}, or null for none')
    for name, most in (("impressions", MOST_IMPRESSIONS), ("hours", MOST_HOURS)):
        value = raw[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise FeatureError(FREQUENCY_CAP, f"{FREQUENCY_CAP}.{name} is {short(value)}, not an integer of 1..{most}",
                               "give one, or null instead of a cap")
    return FrequencyCap(raw["impressions"], raw["hours"])


def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of a name; None if there is none on this machine."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a name, or a folder of the database
        return None
