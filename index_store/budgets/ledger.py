"""Ledger: what each campaign has spent, in whole nanos by quarters of an hour, and how many events there were in each.

All time zones are whole quarters of an hour apart, so that the days of any of them are made of these. Nothing is
rounded. It is never changed itself; what comes later makes another one that shares the campaigns that spent nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

QUARTER = 900
"""Seconds."""

DAY = 86_400 // QUARTER
"""Quarters of a day."""

KEPT_SECONDS = 52 * 3600
"""What is remembered: today and yesterday of every time zone, which may be 25 hours long, and two hours."""

_KEPT = KEPT_SECONDS // QUARTER


class Books(Protocol):
    """What can be asked about spending so far."""

    def between(self, campaign: str, begin: int, end: int) -> int:
        """Nanos that a campaign spent from one time to another, both in seconds since 1970 and whole quarters."""

    def traffic(self, quarter: int) -> int:
        """Number of events that were written in a quarter of an hour."""


@dataclass(frozen=True, eq=False)
class Ledger:
    """The spending of one moment.

    Attributes:
        spent: campaign -> number of a quarter of an hour since 1970 -> nanos.
        events: quarter -> number of events that were written in it: the traffic.
    """

    spent: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    events: Mapping[int, int] = field(default_factory=dict)

    def between(self, campaign: str, begin: int, end: int) -> int:
        """See Books."""
        return _sum(self.spent.get(campaign, {}), begin, end)

    def traffic(self, quarter: int) -> int:
        """See Books."""
        return self.events.get(quarter, 0)


class LedgerWriter:
    """Adds to a ledger; `now` is the one that results."""

    def __init__(self, before: Ledger) -> None:
        self._before = before
        self._spent: dict[str, dict[int, int]] = {}
        self._events: dict[int, int] = {}

    def add(self, campaign: str, nanos: int, at: float, written: float) -> None:
        """An event of a campaign.

        Args:
            campaign: of the ad.
            nanos: that it spent, if any.
            at: when it was; the day that it is charged to.
            written: when it came to be known.
        """
        quarter = int(written // QUARTER)
        self._events[quarter] = self._events.get(quarter, 0) + 1
        if nanos:
            if campaign not in self._spent:
                self._spent[campaign] = dict(self._before.spent.get(campaign, {}))
            quarters, quarter = self._spent[campaign], int(at // QUARTER)
            if quarter not in quarters:
                for old in [one for one in quarters if one < quarter - _KEPT]:
                    del quarters[old]
            quarters[quarter] = quarters.get(quarter, 0) + nanos

    def between(self, campaign: str, begin: int, end: int) -> int:
        """See Books."""
        return _sum(self._spent.get(campaign) or self._before.spent.get(campaign, {}), begin, end)

    def traffic(self, quarter: int) -> int:
        """See Books."""
        return self._before.traffic(quarter) + self._events.get(quarter, 0)

    @property
    def now(self) -> Ledger:
        """The ledger with what was added so far."""
        if not self._events:
            return self._before
        events = dict(self._before.events)
        for quarter, count in self._events.items():
            events[quarter] = events.get(quarter, 0) + count
        newest = max(events)
        return Ledger({**self._before.spent, **self._spent},
                      {quarter: count for quarter, count in events.items() if quarter >= newest - _KEPT})


def _sum(quarters: Mapping[int, int], begin: int, end: int) -> int:
    return sum(nanos for quarter, nanos in quarters.items() if begin // QUARTER <= quarter < end // QUARTER)
