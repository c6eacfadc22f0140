"""The soak, and how growth is told from a plateau."""

import pytest

from loadtest.chaos.soak import _growth, _Sample, soak
from tests.loadtest.chaos.guarantees import held

MIB = 2**20


@pytest.mark.long
def test_nothing_grows_under_steady_requests_and_swaps(testbed):
    facts = held(soak(testbed), "soak", phases=("warming", "steady"))["soak"].facts
    assert facts["samples"] >= 10
    for name in ("resident", "own", "files", "threads"):
        assert facts[name]["early"] > 0


def samples(resident):
    return [_Sample(float(second), resident(second) * MIB, 50 * MIB, 20, 4) for second in range(90)]


def test_growth_after_the_warm_up_is_a_problem():
    facts, problems = _growth(samples(lambda second: 100 + second), 90.0)
    assert problems == ["resident grew from 139.5 to 179.5"]
    assert facts["resident"]["slope_per_hour"] == 3600.0
    assert facts["samples"] == 60


def test_too_few_samples_are_a_problem():
    assert _growth(samples(lambda second: 100)[:32], 90.0)[1] == [
        "there are 2 samples after the warm-up, too few to compare"]


def test_growth_during_the_warm_up_is_none():
    _, problems = _growth(samples(lambda second: min(100 + 10 * second, 400)), 90.0)
    assert problems == []
