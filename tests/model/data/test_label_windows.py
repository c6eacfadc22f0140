"""Labels that come late: what is known of them, which window a row teaches, and tables that cannot be right."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from index_store.declaration.spec import TaskSpec
from model.data.label_windows import NEVER, SETTLED, LabelWindows, delays_of
from tests.model.data.late_labels import late, targets_of
from tests.model.tiny_log import TINY_SPEC

WINDOWS = LabelWindows((1,), ((10, 100),), now=1_000, rule="one")
LABELS = np.array([[1, 1], [1, 1], [0, 0], [1, 1], [0, 1]], np.int8)
TIMES = np.array([500, 950, 950, 995, 500], np.int64)
DELAYS = np.array([[40], [60], [NEVER], [3], [101]], np.int64)


def test_a_label_is_known_once_it_came_and_only_within_the_longest_window():
    assert WINDOWS.known(LABELS, TIMES, DELAYS).tolist() == [[1, 1], [1, 0], [0, 0], [1, 1], [0, 0]]
    assert WINDOWS.final(LABELS, DELAYS).tolist() == [[1, 1], [1, 1], [0, 0], [1, 1], [0, 0]]


def test_a_row_teaches_one_window_of_those_that_have_closed():
    found = WINDOWS.targets(LABELS, np.zeros(5, np.int32), np.arange(5, dtype=np.int32), TIMES, DELAYS)
    assert found.heads.tolist() == [0, 1, 1]
    late_task = found.counted[:, 1:]
    assert found.counted[:, 0].all()
    assert late_task.sum(1).tolist() == [1, 1, 1, 0, 1]
    assert not late_task[WINDOWS.now < TIMES + 100, 0].any()  # the longest window, the task's own logit
    assert found.labels[:, 1].tolist() == [1, 1, 0, 1, 0]
    assert found.labels[:, 2].tolist() == [0, 0, 0, 1, 0]


def test_a_row_may_teach_all_windows_that_have_closed():
    every = replace(WINDOWS, rule="every")
    found = every.targets(LABELS, np.zeros(5, np.int32), np.arange(5, dtype=np.int32), TIMES, DELAYS)
    assert found.counted[:, [2, 1]].tolist() == [[True, True], [True, False], [True, False], [False, False],
                                                 [True, True]]


def test_a_row_that_waits_counts_by_the_share_of_labels_that_would_have_come():
    log = late((20, 40), delay=lambda rows: rows % 50)
    found, ages = targets_of(log), log.windows.now - log.train.timestamps
    delays, settled = log.train.delays[:, 0], ages >= 40
    own = delays[settled & (delays >= 0) & (delays <= 40)]
    for age in (0, 5, 25, 39):
        share = np.mean(own <= age)
        assert np.exp(found.waiting[ages == age, 1]) == pytest.approx([1 - share], abs=1e-6)
        assert found.counted[ages == age, 1].tolist() == [share > 0]
    assert (found.waiting[settled] == SETTLED).all()
    assert (found.waiting[:, [0, 2]] == SETTLED).all()
    assert found.counted[settled, 1].all()
    np.testing.assert_array_equal(found.labels[:, :2], log.train.labels)
    np.testing.assert_array_equal(found.counted[:, 2], ages >= 20)


def test_without_a_label_on_settled_rows_younger_ones_do_not_count():
    data = late((40,), delay=lambda rows: np.where(rows < 680, 45, 3))
    found = targets_of(data)
    assert data.train.labels[-40:, 1].any()
    np.testing.assert_array_equal(found.counted[:, 1], data.windows.closed(data.train.timestamps))


def test_old_rows_are_spread_evenly_over_the_windows_and_keep_theirs():
    data = late((10, 20, 40), rule="one")
    targets = targets_of(data)
    old = data.train.timestamps + 40 <= data.windows.now
    shares = targets.counted[old, 1:].mean(0)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)
    later = replace(data.windows, now=data.windows.now + 10_000)
    again = targets_of(replace(data, windows=later))
    np.testing.assert_array_equal(again.counted[old], targets.counted[old])
    assert (again.counted[:, 1:].sum(1) == 1).all()


@pytest.mark.parametrize("rule", ["waiting", "every", "one"])
def test_no_label_that_is_learned_was_still_to_come(rule):
    data = late((10, 20, 40), delay=lambda rows: rows % 70, rule=rule)
    targets, log = targets_of(data), data.train
    came = log.timestamps[:, None] + np.where(log.delays == NEVER, 0, log.delays)
    assert (came <= data.windows.now)[(targets.labels * targets.counted)[:, 1:].any(1)].all()
    for column, span in ((2, 10), (3, 20), (1, 40)):
        settled = targets.counted[:, column] & (targets.waiting[:, column] == SETTLED)
        assert (log.timestamps[settled] + span <= data.windows.now).all()


def test_rates_are_those_of_the_rows_that_count():
    targets = targets_of(late((10, 40), delay=lambda rows: rows % 50, rule="every"))
    for column in range(3):
        counted = targets.counted[:, column]
        assert targets.rates()[column] == pytest.approx(targets.labels[counted, column].mean())
    assert targets.rates()[2] < targets.rates()[1]
    waiting = targets_of(late((10, 40), delay=lambda rows: rows % 50))
    assert waiting.rates()[1] == pytest.approx(targets.rates()[1], rel=0.05)


def test_a_single_window_counts_for_all_rows_that_are_old_enough():
    data = late((40,), rule="every")
    targets = targets_of(data)
    assert targets.heads.tolist() == [0, 1]
    np.testing.assert_array_equal(targets.counted[:, 1], data.windows.closed(data.train.timestamps))


@pytest.mark.parametrize(("clock", "units"), [(pa.int64(), 1), (pa.timestamp("s"), 1),
                                              (pa.timestamp("us", "UTC"), 10**6)])
def test_hours_become_units_of_the_timestamps(clock, units):
    spec = replace(TINY_SPEC, tasks=(TINY_SPEC.tasks[0], TaskSpec("buy", windows=(0.5, 2.0), time="bought_at")))
    assert LabelWindows.of(spec, clock, 7) == LabelWindows((1,), ((1800 * units, 7200 * units),), 7)
    assert LabelWindows.of(TINY_SPEC, clock, 7) is None


def test_delays_are_the_times_since_the_impression():
    assert delays_of(pa.array([12, None, 10]), np.array([10, 10, 10])).tolist() == [2, NEVER, 0]
