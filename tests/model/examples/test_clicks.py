"""Histories of training examples against a slow reference."""

import numpy as np
import pytest

from index_store.declaration.values import MAX_LIST
from index_store.features.ragged import Ragged
from model.data.label_windows import NEVER
from model.data.load import Events
from model.examples.clicks import Clicks


def random_clicks(rng, users=20):
    per_user = [sorted(rng.integers(0, 9, rng.integers(0, 7)).tolist()) for _ in range(users)]
    rows = [rng.integers(0, 12, len(times)).tolist() for times in per_user]
    flat = Ragged.of([np.array(r, np.int32) for r in rows])
    times = np.array([t for times in per_user for t in times], np.int64)
    return Clicks(flat.indptr, flat.values, times), per_user, rows


@pytest.mark.parametrize("seed", [1, 3, 50])
def test_histories_equal_a_slow_reference(seed):
    rng = np.random.default_rng(seed)
    clicks, times, rows = random_clicks(rng)
    users, before = rng.integers(0, 20, 200), rng.integers(-1, 11, 200)
    early = clicks.histories(users, before=before.astype(np.int64))
    everything = clicks.histories(users)
    for n, user in enumerate(users):
        seen = [row for row, time in zip(rows[user], times[user], strict=True) if time < before[n]]
        assert early.row(n).tolist() == seen[::-1]
        assert everything.row(n).tolist() == rows[user][::-1]


def test_the_most_recent_clicks_of_a_long_history_are_kept():
    n = MAX_LIST + 5
    clicks = Clicks(np.array([0, n]), np.arange(n, dtype=np.int32), np.arange(n))
    assert clicks.histories(np.array([0])).row(0).tolist() == list(range(n - 1, 4, -1))


def test_histories_are_right_when_times_are_nanoseconds_of_a_year():
    # User x span of the log does not fit 64 bits.
    users, year = 1_000, 365 * 24 * 3600 * 10**9
    start = 1_700_000_000 * 10**9
    times = np.tile([start, start + 1, start + year], users)
    clicks = Clicks(np.arange(0, 3 * users + 1, 3), np.tile(np.arange(3, dtype=np.int32), users), times)
    found = clicks.histories(np.arange(users), before=np.full(users, start + 2))
    assert np.array_equal(found.values.reshape(users, 2), np.tile([1, 0], (users, 1)))


def test_clicks_are_the_events_with_any_label():
    labels = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.int8)
    log = Events(np.array([0, 0, 2, 2], np.int32), np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int64), labels)
    clicks = Clicks.of(log, 3)
    assert [clicks.by_user.row(user).tolist() for user in range(3)] == [[1], [], [2, 3]]
    assert clicks.count_before(np.array([2, 2, 1]), np.array([3, 2, 9])).tolist() == [1, 0, 0]


def test_a_label_that_comes_late_is_in_no_history_before_it_came():
    labels = np.array([[0, 1], [0, 1], [1, 1], [0, 0]], np.int8)
    delays = np.array([[50], [20], [90], [NEVER]], np.int64)
    log = Events(np.zeros(4, np.int32), np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int64), labels,
                 delays=delays, late=(1,))
    clicks = Clicks.of(log, 1)
    assert clicks.timestamps.tolist() == [2, 21, 50], "the third has a label that does not come late"
    assert clicks.histories(np.zeros(3, np.int64), before=np.array([3, 22, 51])).values.tolist() == [2, 1, 2, 0, 1, 2]
