"""The cost of searches, learned level by level, and the time left."""

import time

import pytest

from index_store.search.deadline import Deadline, SearchCost


def test_cost_follows_the_searches_when_they_slow_down():
    cost = SearchCost(1e-6)
    for _ in range(200):
        cost.observe(1, 1000, 4e-3)
    assert cost.seconds_per_pair(1) == pytest.approx(4e-6, rel=0.01)
    assert cost.seconds_per_pair(2) == 1e-6


def test_cost_is_kept_when_tiny_searches_come_between():
    cost = SearchCost(1e-6)
    for _ in range(100):
        cost.observe(1, 5000, 5e-3)
        cost.observe(1, 1, 3e-4)
    assert cost.seconds_per_pair(1) == pytest.approx(1e-6, rel=0.1)


def test_cost_of_a_plan_is_that_of_its_levels():
    cost = SearchCost(1.0)
    for _ in range(300):
        cost.observe(1, 20, 400.0)  # 20 seconds a pair
        cost.observe(3, 1000, 500.0)  # half a second
    assert cost.seconds({1: 10.0, 2: 7.0, 3: 100.0}) == pytest.approx(10 * 20 + 7 * 1 + 100 * 0.5, rel=1e-4)


def test_cost_is_the_first_guess_when_nothing_was_timed():
    assert SearchCost(3e-6).seconds({1: 10.0, 2: 20.0}) == pytest.approx(9e-5)


def test_time_left_falls_below_zero_when_the_deadline_passes():
    cost = SearchCost()
    assert Deadline(time.perf_counter() + 60, cost).left() == pytest.approx(60, abs=5)
    assert Deadline(time.perf_counter() - 1, cost).left() < 0
