"""Local days: when the day of a time zone begins and ends, with days of 23 and 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from index_store.budgets.campaign import zone_of


def day_of(at: float, time_zone: str) -> tuple[int, int]:
    """Begin and end, in seconds since 1970, of the local day that a time belongs to.

    A zone that this machine does not know counts as UTC: whoever declared it was on a machine that did.
    """
    zone = zone_of(time_zone) or UTC
    return _bounds(time_zone, datetime.fromtimestamp(at, zone).toordinal())


@lru_cache(maxsize=4_096)
def _bounds(time_zone: str, ordinal: int) -> tuple[int, int]:
    zone, date = zone_of(time_zone) or UTC, datetime.fromordinal(ordinal).date()
    begin, end = (datetime.combine(day, time.min, zone).timestamp() for day in (date, date + timedelta(days=1)))
    return round(begin), round(end)
