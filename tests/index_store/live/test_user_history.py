"""Live histories: order, bounds, repeats, conversions, and ads that the bundle does not know."""

import numpy as np
import pytest

from index_store.declaration.values import MAX_LIST
from index_store.live.user_history import NO_EVENTS, EventType, events_in, rows_of, with_event

NEW = 9
"""An ad that the bundle does not know; the row of each other one is its number."""


def rows(history, stored=()):
    found = rows_of(history, np.array(stored, np.int32), lambda ads: np.where(ads == NEW, -1, ads).astype(np.int64))
    assert found.dtype == np.int32
    return found.tolist()


def after(*events, most=10):
    history = NO_EVENTS
    for kind, at, ad in events:
        history = with_event(history, EventType(kind), at, ad, most)
    return history


def clicks(*events, **more):
    return after(*(("click", at, ad) for at, ad in events), **more)


def test_most_recent_click_comes_first_however_they_arrive_and_repeats_count():
    assert rows(clicks((1, 0), (3, 1), (2, 2), (4, 0))) == [0, 1, 2, 0]
    assert rows(clicks((1, 0), (1, 1))) == [1, 0]  # of the same time, the one that came last
    assert rows(clicks((1, 0)), stored=[2, 0]) == [0, 2, 0]
    assert rows(NO_EVENTS, stored=[2, 0]) == [2, 0]


def test_oldest_clicks_go_when_there_are_too_many():
    history = clicks((1, 0), (3, 1), (2, 2), most=2)
    assert (rows(history), events_in(history), len(history)) == ([1, 2], 2, 26)
    assert clicks((3, 1), (2, 2), (1, 0), most=2) == history
    assert len(rows(clicks((1, 0)), stored=[1] * MAX_LIST)) == MAX_LIST


@pytest.mark.parametrize("events", [
    [("click", 1, 0), ("conversion", 5, 0), ("click", 2, 1)], [("conversion", 5, 0), ("click", 2, 1), ("click", 1, 0)]])
def test_conversion_counts_only_without_a_click_of_its_ad(events):
    assert rows(after(*events)) == [1, 0]
    assert rows(after(("conversion", 2, 0), ("click", 3, 1), ("conversion", 4, 2))) == [2, 1, 0]
    assert rows(after(("conversion", 2, 0)), stored=[1, 0]) == [1, 0]
    assert rows(after(("click", 2, 0)), stored=[1, 0]) == [0, 1, 0]


def test_ads_that_the_bundle_does_not_know_count_for_nothing_and_are_kept():
    history = clicks((1, 0), (2, NEW))
    assert (rows(history, stored=[2]), events_in(history)) == ([0, 2], 2)
