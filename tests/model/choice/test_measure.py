"""What a model reaches on a hold-out, against the measures that `evaluate` prints, and paired differences."""

from dataclasses import replace

import numpy as np
import pytest

from model.choice.held_out import HeldOut
from model.choice.measure import Measure, Reached, measure_of
from model.evaluation.quality import quality
from tests.model.tiny_runs import TINY, run_of
from tests.model.worlds import impressions, positives


class Planted(Measure):
    """A measure of three users with two values each."""

    name, sign, users, asked = "planted", -1, np.repeat([7, 3, 5], 2), 0

    def of(self, run):
        return Reached(np.zeros(6))


def test_recall_is_that_of_an_evaluation_on_the_hold_out(tmp_path):
    held = HeldOut.of(positives(), 0)
    run = run_of(tmp_path, data=held.dataset)
    found, measure = quality(run, 0), measure_of(held, TINY)
    reached = measure.of(run)
    assert reached.row == {name: found[name] for name in ("recall@20", "se_recall@20", "recall@100", "se_recall@100")}
    assert measure.mean(reached)[0] == pytest.approx((found["recall@20"] + found["recall@100"]) / 2)
    assert measure.sign == 1


@pytest.mark.parametrize("weights", [{}, {"click": 3.0}])
def test_entropy_is_that_of_an_evaluation_weighted_by_task(tmp_path, weights):
    held = HeldOut.of(impressions(), 0)
    config = replace(TINY, task_weights=weights)
    run = run_of(tmp_path, config, held.dataset)
    measure, found = measure_of(held, config), quality(run, 0)["ne"]
    reached = measure.of(run)
    assert reached.row["ne"] == pytest.approx(found)
    share = weights.get("click", 1.0) / (weights.get("click", 1.0) + 1)
    assert measure.mean(reached)[0] == pytest.approx(share * found["click"] + (1 - share) * found["purchase"])
    assert reached.row["recall@20"] is not None


def test_a_constant_has_the_train_rate():
    held = HeldOut.of(impressions(), 0)
    reached = measure_of(held, TINY).constant()
    assert set(reached.row["ne"]) == {"click", "purchase"}
    assert all(1 <= ne < 1.1 for ne in reached.row["ne"].values())


def test_a_task_with_held_out_labels_of_one_class_does_not_count():
    log = impressions()
    log.train.labels[:, 1] = 0
    measure = measure_of(HeldOut.of(log, 0), TINY)
    reached = measure.constant()
    assert reached.row["ne"]["purchase"] is None
    assert measure.mean(reached)[0] == pytest.approx(reached.row["ne"]["click"])


def test_a_hold_out_without_anything_to_measure_has_no_measure():
    log = positives(clicks=1)
    ordered = replace(log, spec=replace(log.spec, history_ordered=True))
    assert measure_of(HeldOut.of(ordered, 0), TINY) is None  # each user keeps the only click
    empty = impressions()
    empty.train.labels[:] = 0
    assert measure_of(HeldOut.of(empty, 0), TINY) is None


def test_a_gain_is_paired_and_its_error_counts_users():
    measure = Planted()
    before = Reached(np.array([5.0, 1.0, 9.0, 3.0, 2.0, 4.0]))
    gain, error = measure.gain(Reached(before.values - np.repeat([1.0, 2.0, 3.0], 2)), before)
    assert gain == pytest.approx(2.0)
    assert error == pytest.approx(1 / np.sqrt(3))
    assert measure.gain(before, before) == (0.0, 0.0)


def test_one_user_has_no_error():
    measure = Planted()
    measure.users = np.zeros(6, int)
    assert measure.mean(Reached(np.arange(6.0))) == (2.5, np.inf)
