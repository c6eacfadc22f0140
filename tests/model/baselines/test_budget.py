"""Time and memory of the baselines."""

import math
import time

import pytest

from model.baselines.budget import Budget, Pace, SkippedError, free_memory, need_memory


def test_what_is_expected_to_take_longer_is_skipped():
    Budget().need(1e9)
    Budget(10).need(5)
    with pytest.raises(SkippedError, match="it takes about 1,000 s, and 10 s of the time for baselines are left"):
        Budget(10).need(1000)


def test_time_runs_from_the_moment_it_is_made():
    assert Budget(0.02, time.monotonic() - 0.03).left == 0
    budget = Budget(60.0)
    assert 0 < budget.left < 60
    assert budget.limited
    assert not Budget().limited


def test_one_more_is_fitted_if_it_and_the_last_one_fit():
    assert Pace(Budget()).more()
    began = time.monotonic() - 10
    assert Pace(Budget(60.0, began), _began=began).more()  # one takes 10 s, and 50 s are left
    assert not Pace(Budget(29.0, began), _began=began).more()  # 19 s are left


def test_what_needs_more_memory_than_is_free_is_skipped(tmp_path):
    need_memory(1)
    with pytest.raises(SkippedError, match=r"it needs 1,?048576.0 GiB of memory, and "):
        need_memory(1 << 50)
    assert free_memory(tmp_path / "nothing") == math.inf
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  7 kB\n")
    assert free_memory(tmp_path / "meminfo") == 7 * 1024
