"""Overload: goodput and latency at three times the saturating rate, and how fast the rest is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.chaos.result import Outcome, Result, judged, percentiles
from loadtest.chaos.testbed import Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.processes.service_process import ServiceProcess

_TIMES = 3
_GROWTH = 1.1
_MOST_RATE = 2_000.0
_TIMEOUT_MS = 50.0
_GRACE_MS = 5.0
"""As in `loadtest http`: a deadline bounds the work, not the transfer of the reply."""


def overload(testbed: Testbed) -> list[Result]:
    """Doubles the rate until the goodput stops growing, then sends three times the peak; every request has a deadline.

    Only answers and 429s are allowed; goodput counts answers that reach the client in time. One worker, because the
    load generator needs a core as well.
    """
    replica = testbed.replica(testbed.bundle, workers=1, RETRIEVAL_DEFAULT_TIMEOUT_MS=f"{_TIMEOUT_MS:g}")
    runs = [_at(testbed, replica, testbed.scale.rate)]
    rates, goodputs = [testbed.scale.rate], [_goodput(runs[0], testbed)]
    while len(rates) == 1 or (goodputs[-1] > _GROWTH * goodputs[-2] and 2 * rates[-1] <= _MOST_RATE):
        rates.append(2 * rates[-1])
        goodputs.append(_goodput(_at(testbed, replica, rates[-1]), testbed))
    best = max(goodputs)
    runs += [_at(testbed, replica, _TIMES * best), _at(testbed, replica, testbed.scale.rate)]
    replica.stop()
    good, refused = _goodput(runs[1], testbed), [one.ms for one in runs[1] if one.status == 429]
    facts: dict[str, Any] = {
        "goodput_by_rate": dict(zip(map(str, rates), (round(goodput, 1) for goodput in goodputs), strict=True)),
        "peak_goodput": round(best, 1), "offered": round(_TIMES * best, 1), "goodput": round(good, 1),
        "goodput_of_peak": round(good / best, 3), "refused": len(refused)}
    if refused:
        facts["refusal"] = percentiles(refused)
    problems = [] if refused else ["nothing was refused, so this was no overload"]
    return [judged("overload", dict(zip(("before", "during", "after"), runs, strict=True)), facts, problems,
                   fails=_neither_answered_nor_refused)]


def _at(testbed: Testbed, replica: ServiceProcess, rate: float) -> list[Outcome]:
    """Outcomes of a phase at this rate."""
    with Traffic([replica.address], testbed.answers, rate) as traffic:
        traffic.phase("all")
        traffic.spend(testbed.scale.seconds)
    return traffic.phases()["all"]


def _goodput(outcomes: Sequence[Outcome], testbed: Testbed) -> float:
    good = sum(one.status == 200 and one.ms <= _TIMEOUT_MS + _GRACE_MS for one in outcomes)
    return good / testbed.scale.seconds


def _neither_answered_nor_refused(one: Outcome) -> bool:
    return one.status not in (200, 429)
