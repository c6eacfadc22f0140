"""Three times the load that the service can bear: what it still answers, how fast, and how fast it refuses the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from loadtest.chaos.replica import Replica
from loadtest.chaos.result import Outcome, Result
from loadtest.chaos.site import Site
from loadtest.chaos.traffic import Traffic

_TIMES = 3
_GROWTH = 1.1
_MOST_RATE = 2_000.0
_TIMEOUT_MS = 50.0
_GRACE_MS = 5.0
"""As in `loadtest http`: a deadline bounds the work, not the way back."""


def overload(site: Site) -> Result:
    """Doubles the rate until the goodput stays, then sends three times the best; every request has a deadline.

    Only answers and 429s are allowed; goodput counts answers that are with the client in time.
    """
    replica = site.replica(site.bundle, RETRIEVAL_DEFAULT_TIMEOUT_MS=f"{_TIMEOUT_MS:g}")
    before = _at(site, replica, site.scale.rate, "before")
    rates, goodputs = [site.scale.rate], [_goodput(before, site.scale.seconds)]
    while len(rates) == 1 or (goodputs[-1] > _GROWTH * goodputs[-2] and 2 * rates[-1] <= _MOST_RATE):
        rates.append(2 * rates[-1])
        goodputs.append(_goodput(_at(site, replica, rates[-1], "ramp"), site.scale.seconds))
    best = max(goodputs)
    during = _at(site, replica, _TIMES * best, "during")
    after = _at(site, replica, site.scale.rate, "after")
    replica.terminate()
    good, refused = _goodput(during, site.scale.seconds), [one.ms for one in during.outcomes if one.status == 429]
    facts: dict[str, Any] = {
        "goodput_by_rate": dict(zip(map(str, rates), (round(goodput, 1) for goodput in goodputs), strict=True)),
        "peak_goodput": round(best, 1), "offered": round(_TIMES * best, 1), "goodput": round(good, 1),
        "goodput_of_peak": round(good / best, 3), "refused": len(refused)}
    if refused:
        p50, p99 = np.percentile(refused, (50, 99), method="inverted_cdf")
        facts |= {"refusal_p50_ms": round(float(p50), 2), "refusal_p99_ms": round(float(p99), 2)}
    problems = [] if refused else ["nothing was refused, so this was no overload"]
    parts = [traffic.result("overload", {}, fails=_neither_answered_nor_refused) for traffic in (before, during, after)]
    return Result("overload", {name: row for part in parts for name, row in part.phases.items()},
                  {**facts, **parts[1].facts}, [problem for part in parts for problem in part.problems] + problems)


def _at(site: Site, replica: Replica, rate: float, phase: str) -> Traffic:
    with Traffic([replica.address], site.answers, rate) as traffic:
        traffic.phase(phase)
        traffic.spend(site.scale.seconds)
    return traffic


def _goodput(traffic: Traffic, seconds: float) -> float:
    (_, begin), = traffic.marks
    return sum(one.status == 200 and one.ms <= _TIMEOUT_MS + _GRACE_MS and one.at >= begin
               for one in traffic.outcomes) / seconds


def _neither_answered_nor_refused(one: Outcome) -> bool:
    return one.status not in (200, 429)
