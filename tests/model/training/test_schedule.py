"""The schedule: rates rise and fall to zero, and the index loss warms up once there is a tree."""

from dataclasses import replace

import pytest

from model.runs.checkpoint import Progress
from model.training.schedule import CONTEXT_RATE, WARM_UP_BATCHES, Schedule
from tests.model.tiny_runs import TINY

SCHEDULE = Schedule(replace(TINY, epochs=2, rounds=2, round_epochs=1, index_warm_up=0.5), batches=100)


def test_rates_warm_up_and_then_fall_on_a_line_to_zero():
    assert SCHEDULE.epochs == 4
    assert SCHEDULE.learning_rates(Progress(0, 0))["dense"] == pytest.approx(TINY.learning_rate / WARM_UP_BATCHES)
    half = SCHEDULE.learning_rates(Progress(2, 0))
    assert half == pytest.approx({"dense": TINY.learning_rate / 2, "tables": TINY.table_learning_rate / 2,
                                  "codebooks": TINY.hill.learning_rate / 2,
                                  "context": CONTEXT_RATE * TINY.learning_rate / 2})
    assert SCHEDULE.learning_rates(Progress(3, 99))["dense"] == pytest.approx(TINY.learning_rate / 400)


def test_the_index_loss_reaches_its_weight_after_its_warm_up():
    weights = [SCHEDULE.index_weight(Progress(2, batch)) for batch in (0, 24, 49, 99)]
    assert weights == pytest.approx([1 / 50, 0.5, 1.0, 1.0])
    at_once = Schedule(replace(TINY, index_warm_up=0.0, index_weight=3.0), 10)
    assert at_once.index_weight(Progress(1, 0)) == 3.0


def test_the_share_of_training_with_a_tree_runs_from_zero_to_one():
    assert [SCHEDULE.tree_share(Progress(*at)) for at in ((2, 0), (3, 0), (4, 0))] == [0.0, 0.5, 1.0]
