"""Predicted seconds: those of the batches, of what comes with them, and of the trees."""

from dataclasses import replace

import pytest

from model.choice.forecast import TREE_SECONDS_PER_AD, TREE_SLOWDOWN, Forecast
from model.choice.trial import Pace
from tests.model.tiny_runs import TINY

PACE = Pace(batches=100, batch_seconds=0.5)


def test_a_trial_takes_its_batches_and_what_it_took_besides():
    assert Forecast(1.0, 10, preparing=99.0, besides=7.0).trial(replace(TINY, epochs=3), PACE) == 7 + 4 * 50


def test_the_final_training_has_more_events_and_trees():
    found = Forecast(1.25, 1000, preparing=8.0, besides=7.0).refit(replace(TINY, epochs=3, rounds=2), PACE)
    assert found == pytest.approx(1.25 * (8 + 3 * 50 + TREE_SLOWDOWN * 2 * 50) + 2 * 1000 * TREE_SECONDS_PER_AD)
