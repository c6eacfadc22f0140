"""Random numbers by counter: independent of what was drawn before, and of the right distribution."""

import numpy as np
import pytest

from model.sources.draws import Draws, zipf


def test_a_draw_depends_on_seed_stream_and_counter_alone():
    draws, counters = Draws(3), np.arange(1_000)
    every = draws.uniform("age", counters)
    assert np.array_equal(draws.uniform("age", counters[700:]), every[700:])
    assert not np.isin(draws.uniform("size", counters), every).any()
    assert not np.isin(Draws(4).uniform("age", counters), every).any()


def test_uniform_and_normal_have_their_moments(tolerance=0.02):
    counters = np.arange(100_000)
    uniform, normal = Draws(0).uniform("u", counters), Draws(0).normal("n", counters)
    assert ((uniform >= 0) & (uniform < 1)).all()
    assert np.histogram(uniform, 10, (0, 1))[0] / len(uniform) == pytest.approx(np.full(10, 0.1), abs=tolerance / 4)
    assert (normal.mean(), normal.std()) == (pytest.approx(0, abs=tolerance), pytest.approx(1, abs=tolerance))


def test_integers_cover_their_range_which_may_differ_by_counter():
    drawn = Draws(0).integers("i", np.arange(1_000), 5)
    assert np.unique(drawn).tolist() == [0, 1, 2, 3, 4]
    limits = np.arange(1, 1_001)
    assert (Draws(0).integers("i", np.arange(1_000), limits) < limits).all()


def test_chosen_follows_the_weights(tolerance=0.01):
    weights = zipf(4, 1.0)
    assert weights == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    drawn = Draws(0).chosen("c", np.arange(100_000), weights)
    assert np.bincount(drawn) / len(drawn) == pytest.approx(weights / weights.sum(), abs=tolerance)
