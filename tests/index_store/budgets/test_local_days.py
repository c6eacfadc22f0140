"""Local days: midnights of time zones that change their clocks, and that days follow each other without gaps."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store.budgets.ledger import QUARTER
from index_store.budgets.local_days import day_of


def at(text):
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp())


@pytest.mark.parametrize(("now", "zone", "begin", "hours"), [
    ("2026-03-05T12:00+00:00", "UTC", "2026-03-05T00:00+00:00", 24),
    ("2026-03-05T23:30+00:00", "Europe/Berlin", "2026-03-06T00:00+01:00", 24),
    ("2026-03-29T12:00+00:00", "Europe/Berlin", "2026-03-29T00:00+01:00", 23),
    ("2026-10-25T12:00+00:00", "Europe/Berlin", "2026-10-25T00:00+02:00", 25),
    ("2026-10-25T23:30+01:00", "Europe/Berlin", "2026-10-25T00:00+02:00", 25),
    ("2026-03-08T12:00+00:00", "America/Havana", "2026-03-08T01:00-04:00", 23),  # there is no midnight that day
    ("2026-06-01T00:00+00:00", "Asia/Kathmandu", "2026-06-01T00:00+05:45", 24),
    ("2026-06-01T00:00+00:00", "Nowhere/At_All", "2026-06-01T00:00+00:00", 24)])
def test_day_begins_at_local_midnight(now, zone, begin, hours):
    assert day_of(at(now), zone) == (at(begin), at(begin) + hours * 3600)


@given(st.floats(1.6e9, 2.2e9), st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe",
                                                "Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns"]))
def test_days_follow_each_other_in_whole_quarters_of_an_hour(now, zone):
    begin, end = day_of(now, zone)
    assert begin <= now < end
    assert 23 * 3600 <= end - begin <= 25 * 3600
    assert begin % QUARTER == end % QUARTER == 0
    assert day_of(end, zone)[0] == end
    assert day_of(begin - 1, zone)[1] == begin
