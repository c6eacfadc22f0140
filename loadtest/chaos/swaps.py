"""Bundle swaps and rollbacks under load: every reply comes from one bundle, after a swap from the new one."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from loadtest.chaos.result import Outcome, Result, judged
from loadtest.chaos.testbed import FIRST, SECOND, Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.processes.service_process import ListeningProcess


class SwapError(Exception):
    """The service refused a valid swap; the message is its own."""


def swaps(testbed: Testbed) -> list[Result]:
    """Loads the two bundles in turn, with regular rollbacks.

    The phase `during` lasts from the first swap to the last; what it adds to p99 is the cost of swapping.
    """
    scale, ids = testbed.scale, dict(zip((FIRST, SECOND), testbed.answers.bundle_ids, strict=True))
    replica = testbed.replica(testbed.store(FIRST))
    serving, done = FIRST, [(0.0, 0.0, ids[FIRST])]
    took: dict[str, list[float]] = {"load": [], "rollback": []}
    every = scale.swaps // scale.rollbacks
    plan = [step for n in range(1, scale.swaps + 1) for step in ("load", "rollback")[:1 + (n % every == 0)]]
    with Traffic([replica.address], testbed.answers, scale.rate) as traffic:
        traffic.phase("before")
        traffic.spend(scale.seconds)
        traffic.phase("during")
        for step in plan:
            serving = SECOND if serving == FIRST else FIRST
            began = time.perf_counter()
            swap(replica, serving if step == "load" else None)
            done.append((began, time.perf_counter(), ids[serving]))
            took[step].append(done[-1][1] - began)
        traffic.phase("after")
        traffic.spend(scale.seconds)
    replica.stop()
    old = of_another_bundle(traffic.outcomes, done)
    problems = [f"{old} replies to requests sent after a swap are of the previous bundle"] if old else []
    result = judged("swaps", traffic.phases(), {
        "swaps": len(took["load"]), "rollbacks": len(took["rollback"]), "mixed": sum(
            one.problem is not None for one in traffic.outcomes), "of_the_bundle_before": old,
        "swap_s": round(median(took["load"]), 3), "longest_swap_s": round(max(took["load"]), 3),
        "rollback_s": round(median(took["rollback"]), 3), "longest_rollback_s": round(max(took["rollback"]), 3)},
        problems)
    added = result.phases["during"]["p99_ms"] - result.phases["before"]["p99_ms"]
    return [replace(result, facts={"added_p99_ms": round(added, 2), **result.facts})]


def swap(replica: ListeningProcess, bundle: str | None) -> None:
    """Loads a bundle with `force`, past the promotion gate; None rolls back.

    Raises:
        SwapError: it was refused.
    """
    path, body = ("load", {"bundle": bundle, "force": True}) if bundle else ("rollback", {})
    status, reply = replica.call(f"/admin/bundles/{path}", body)
    if status != 200:
        raise SwapError(f"POST /admin/bundles/{path} of {body} was answered with {status}: {reply['message']}")


def of_another_bundle(outcomes: Sequence[Outcome], done: Sequence[tuple[float, float, str]]) -> int:
    """Number of replies, to requests between two swaps, that name a bundle other than the one being served."""
    ends, count = [end for _, end, _ in done], 0
    for one in outcomes:
        last = bisect_right(ends, one.at) - 1
        next_begins = done[last + 1][0] if last + 1 < len(done) else float("inf")
        settled = one.status == 200 and one.at + one.ms / 1e3 < next_begins
        count += settled and one.bundle_id != done[last][2]
    return count
