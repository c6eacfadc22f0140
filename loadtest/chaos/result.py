"""The result of a scenario: figures per phase, its own facts, and the guarantees that were broken."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from loadtest.http.client import LOST, REFUSED

NO_ANSWER = {LOST: "lost", REFUSED: "refused"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request under load.

    Attributes:
        at: its scheduled send time, in seconds of `time.perf_counter`.
        lag_ms: from then until it was sent.
        ms: from then until the reply was complete.
        status: of the last attempt, below 100 if there was no reply.
        failures: statuses of earlier attempts.
        problem: what is wrong with the reply.
    """

    at: float
    lag_ms: float
    ms: float
    status: int
    failures: tuple[int, ...]
    error_type: str = ""
    bundle_id: str = ""
    user_cache: str = ""
    degraded: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Result:
    """The result of one scenario.

    Attributes:
        phases: name -> figures of its requests.
        facts: measured by this scenario only.
        problems: guarantees that were broken, in words; empty if all held.
    """

    scenario: str
    phases: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    problems: list[str] = field(default_factory=list)


def by_phase(outcomes: Sequence[Outcome], marks: Sequence[tuple[str, float]]) -> dict[str, list[Outcome]]:
    """Outcomes by phase, according to their scheduled send time; phases of the same name are merged.

    Args:
        outcomes: of all requests.
        marks: name and start of each phase; requests before the first one are dropped.
    """
    found: dict[str, list[Outcome]] = {}
    for (name, begin), (_, end) in pairwise([*marks, ("", float("inf"))]):
        found.setdefault(name, []).extend(one for one in outcomes if begin <= one.at < end)
    return found


def no_answer(one: Outcome) -> bool:
    """Whether a request that should have been answered was not."""
    return one.status != 200


def judged(scenario: str, phases: Mapping[str, Sequence[Outcome]], facts: Mapping[str, Any],
           problems: Sequence[str] = (), fails: Callable[[Outcome], bool] = no_answer) -> Result:
    """Figures of each phase; failed requests, wrong replies and phases without an answer count as broken guarantees.

    Args:
        scenario: its name.
        phases: name -> requests.
        facts, problems: found by the scenario itself.
        fails: whether an outcome counts as a failure.
    """
    found = list(problems)
    rows = {name: _figures(outcomes, fails) for name, outcomes in phases.items()}
    for name, row in rows.items():
        if row["failed"]:
            found.append(f"{row['failed']} of {row['requests']} requests failed {name}: {row['failures']}")
        if row["wrong"]:
            first = next(one.problem for one in phases[name] if one.problem)
            found.append(f"{row['wrong']} of {row['requests']} replies were wrong {name}, the first one {first}")
        if "p99_ms" not in row:
            found.append(f"no request was answered {name}")
    busy = round(os.getloadavg()[0], 1)  # of the machine: above its cores, latencies include other processes
    return Result(scenario, rows, {**facts, "load_average": busy}, found)


def percentiles(ms: Sequence[float]) -> dict[str, float]:
    """p50, p99 and maximum of observed milliseconds, without interpolation."""
    p50, p99 = np.percentile(ms, (50, 99), method="inverted_cdf")
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "max_ms": round(max(ms), 2)}


def _figures(outcomes: Sequence[Outcome], fails: Callable[[Outcome], bool]) -> dict[str, Any]:
    """`failed` counts requests that failed in the end, `failed_first` those that failed at the first try."""
    tries = [status for one in outcomes for status in one.failures]
    row: dict[str, Any] = {
        "requests": len(outcomes), "failed": sum(map(fails, outcomes)),
        "failed_first": sum(bool(one.failures) or fails(one) for one in outcomes),
        "failures": _counted([*tries, *(one.status for one in outcomes if fails(one))]),
        "wrong": sum(one.problem is not None for one in outcomes),
        "degraded": sum(bool(one.degraded) for one in outcomes)}
    answered = [one.ms for one in outcomes if one.status == 200]
    if answered:
        row |= percentiles(answered) | {"lag_p99_ms": percentiles([one.lag_ms for one in outcomes])["p99_ms"]}
    return row


def _counted(statuses: Sequence[int]) -> dict[str, int]:
    names = [NO_ANSWER.get(status, str(status)) for status in statuses]
    return {name: names.count(name) for name in sorted(set(names))}
