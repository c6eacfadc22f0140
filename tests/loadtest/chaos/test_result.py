"""Figures of the phases, and which of them are broken guarantees."""

import pytest

from loadtest.chaos.result import by_phase, judged, percentiles
from loadtest.http.client import LOST, REFUSED
from tests.loadtest.chaos.outcomes import outcome


def test_requests_belong_to_the_phase_in_which_they_were_due_and_phases_of_one_name_are_merged():
    outcomes = [outcome(at=at) for at in (0.5, 1.0, 1.9, 2.0, 3.5)]
    phases = by_phase(outcomes, [("calm", 1.0), ("storm", 2.0), ("calm", 3.0)])
    assert {name: [one.at for one in found] for name, found in phases.items()} == {
        "calm": [1.0, 1.9, 3.5], "storm": [2.0]}


def test_failures_wrong_replies_and_silence_are_problems():
    during = [outcome(status=503, failures=(LOST,)), outcome(problem="is of another user")]
    result = judged("a fault", {"before": [outcome(ms=1.0), outcome(ms=3.0)], "during": during,
                                "after": [outcome(status=REFUSED)]}, {"kills": 1}, ["planted"])
    assert result.problems == [
        "planted", "1 of 2 requests failed during: {'503': 1, 'lost': 1}",
        "1 of 2 replies were wrong during, the first one is of another user",
        "1 of 1 requests failed after: {'refused': 1}", "no request was answered after"]
    assert result.facts["kills"] == 1
    assert (result.phases["before"]["p50_ms"], result.phases["before"]["max_ms"]) == (1.0, 3.0)


def test_a_phase_without_any_request_is_a_problem():
    assert judged("a fault", {"during": []}, {}).problems == ["no request was answered during"]


def test_a_request_that_a_retry_saved_has_failed_only_at_first():
    row = judged("a fault", {"during": [outcome(failures=(LOST,)), outcome()]}, {}).phases["during"]
    assert (row["failed"], row["failed_first"], row["failures"]) == (0, 1, {"lost": 1})


def test_percentiles_are_observed_values():
    assert percentiles([float(n) for n in range(1, 101)]) == {"p50_ms": 50.0, "p99_ms": 99.0, "max_ms": 100.0}
    with pytest.raises((IndexError, ValueError)):
        percentiles([])
