"""Overload: answers and refusals only."""

from types import SimpleNamespace

from loadtest.chaos.overload import _goodput, _neither_answered_nor_refused, overload
from tests.loadtest.chaos.guarantees import held
from tests.loadtest.chaos.outcomes import outcome


def test_every_request_is_answered_or_refused_at_three_times_the_peak(testbed):
    facts = held(overload(testbed), "overload")["overload"].facts
    assert facts["refused"] > 0
    assert facts["refusal"]["p50_ms"] > 0
    assert facts["peak_goodput"] == max(facts["goodput_by_rate"].values()) > 0


def test_goodput_counts_answers_within_the_deadline_and_five_milliseconds():
    testbed = SimpleNamespace(scale=SimpleNamespace(seconds=2.0))
    assert _goodput([outcome(ms=54.9), outcome(ms=55.1), outcome(ms=1.0, status=429)], testbed) == 0.5


def test_a_refusal_is_no_failure_but_everything_else_is():
    assert [_neither_answered_nor_refused(outcome(status=status)) for status in (200, 429, 503, 0)] == [
        False, False, True, True]
