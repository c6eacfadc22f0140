"""What a scenario found: figures by phase, facts of its own, and the promises that were broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from loadtest.http_load_client import LOST, REFUSED

NO_ANSWER = {LOST: "lost", REFUSED: "refused"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request under load.

    Attributes:
        at: when it should have left, in seconds of `time.perf_counter`.
        ms: from then until the answer was whole.
        status: of the last try, below 100 where there was no answer.
        failures: statuses of the tries before.
        problem: what is wrong with the reply.
    """

    at: float
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
    """What came of one scenario.

    Attributes:
        phases: name -> figures of its requests.
        facts: what only this scenario measures.
        problems: promises that were broken, in words; empty is well.
    """

    scenario: str
    phases: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    problems: list[str] = field(default_factory=list)


def by_phase(outcomes: Sequence[Outcome], marks: Sequence[tuple[str, float]]) -> dict[str, list[Outcome]]:
    """The outcomes of each phase by the time at which they should have left; phases of one name are joined.

    Args:
        outcomes: of all.
        marks: name and begin of each phase; what came before the first one counts nowhere.
    """
    found: dict[str, list[Outcome]] = {}
    for (name, begin), (_, end) in pairwise([*marks, ("", float("inf"))]):
        found.setdefault(name, []).extend(one for one in outcomes if begin <= one.at < end)
    return found


def figures(outcomes: Sequence[Outcome], fails: Callable[[Outcome], bool]) -> dict[str, Any]:
    """Counts and percentiles of some requests.

    `failed` counts what the client got in the end, `first_try_failed` what it would have got without a second try.
    """
    tries = [status for one in outcomes for status in one.failures]
    row: dict[str, Any] = {
        "requests": len(outcomes), "failed": sum(map(fails, outcomes)),
        "first_try_failed": sum(bool(one.failures) or fails(one) for one in outcomes),
        "failures": _counted([*tries, *(one.status for one in outcomes if fails(one))]),
        "wrong": sum(one.problem is not None for one in outcomes),
        "degraded": sum(bool(one.degraded) for one in outcomes)}
    answered = [one.ms for one in outcomes if one.status == 200]
    if answered:
        # A value that was seen: nothing is interpolated.
        p50, p99 = np.percentile(answered, (50, 99), method="inverted_cdf")
        row |= {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "max_ms": round(max(answered), 2)}
    return row


def no_answer(one: Outcome) -> bool:
    """Whether a request that should have been answered was not."""
    return one.status != 200


def _counted(statuses: Sequence[int]) -> dict[str, int]:
    names = [NO_ANSWER.get(status, str(status)) for status in statuses]
    return {name: names.count(name) for name in sorted(set(names))}
