"""Moving averages against the sums they stand for."""

import numpy as np
import pytest

from index_store.search.moving_average import MovingAverage


def after(values, *arguments):
    average = MovingAverage(*arguments)
    for value in values:
        average.observe(value)
    return average


def test_it_is_the_plain_mean_when_there_are_few_numbers():
    values = [100.0, 2.0, 4.0, 6.0]
    assert after(values, 0.05).mean == pytest.approx(np.mean(values))
    assert after([], 0.05).mean == 0.0


def test_it_weighs_exponentially_when_there_is_a_start():
    average = after([1.0, 2.0, 3.0], 0.1, 10.0)
    expected = 0.9**3 * 10 + 0.9**2 * 0.1 * 1 + 0.9 * 0.1 * 2 + 0.1 * 3
    assert average.mean == pytest.approx(expected)
    assert after([], 0.1, 10.0).mean == 10.0


def test_it_follows_when_the_numbers_change():
    assert after([1.0] * 500 + [3.0] * 200, 0.05).mean == pytest.approx(3.0, rel=1e-3)


def test_deviation_is_the_mean_distance_from_the_mean():
    assert after([5.0] * 50, 0.05).deviation == pytest.approx(0.0)
    assert after([5.0], 0.05).deviation == 0.0
    assert after([4.0, 6.0] * 200, 0.05).deviation == pytest.approx(1.0, abs=0.06)


def test_numbers_are_counted():
    assert after([1.0] * 7, 0.5).count == 7
