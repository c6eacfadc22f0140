"""Redis faults under load, and how the return of its hits is measured."""

import pytest

from loadtest.chaos.redis_faults import _hits_return, redis_faults
from tests.loadtest.chaos.guarantees import held
from tests.loadtest.chaos.outcomes import outcome


def test_no_request_fails_and_hits_return_whatever_happens_to_redis(testbed):
    results = held(redis_faults(testbed), "redis killed", "redis restarted", "redis paused", "redis garbage",
                   "redis full")
    for result in results.values():
        assert result.facts["hit_share"]["before"] > 0
        assert result.facts["half_of_the_hits_back_s"] is not None
    for fault in ("killed", "paused"):
        assert results[f"redis {fault}"].phases["during"]["degraded"] > 0
        assert results[f"redis {fault}"].facts["hit_share"]["during"] < results[
            f"redis {fault}"].facts["hit_share"]["before"]


def test_hits_are_back_when_a_window_has_half_of_the_former_share():
    misses = [outcome(at=10 + n / 10, user_cache="miss") for n in range(30)]
    hits = [outcome(at=13 + n / 10, user_cache="redis") for n in range(30)]
    first, half = _hits_return([*misses, *hits], repaired := 10.0, 0.5)
    assert first == pytest.approx(13 - repaired)
    assert half == pytest.approx(13.4 - repaired)  # 5 of the last 20
    assert _hits_return(misses, repaired, 0.5) == (None, None)
