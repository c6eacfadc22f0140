"""`python -m loadtest shadow`: what a bundle in the shadow adds to the answers of a running service.

    RETRIEVAL_ADMIN_TOKEN=… python -m loadtest shadow --url http://127.0.0.1:8080 --bundle BUNDLE --shadow NAME

Open-loop load at half of the goodput that the service was found to have, or at --rate, in rounds: each runs with the
shadow and without it, in turns which comes first, with the same users and arrivals. Prints a table, then one JSON
object on the last line. The tokens in RETRIEVAL_ADMIN_TOKEN and RETRIEVAL_READ_TOKEN are sent. A round whose load
generator was too slow (`python -m loadtest http` says when) is left out; the exit status is 2 if none is left.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from index_store.bundle.manifest import BundleError
from loadtest.http.open_loop import CANNOT, LAGGED, Load, LoadError, measure, one_rate, positive, target_of, users_of
from loadtest.http.tokens import ADMIN, READ, bearer, token_of

_CPU = "retrieval_shadow_cpu_seconds_total"
_COMPARED = "retrieval_shadow_overlap_count"
_SATURATION_SECONDS, _FIRST_RATE, _TIMEOUT_MS = 4.0, 50.0, 50.0
_SETTLE_SECONDS = 1.0
"""After the shadow begins or ends, so that opening and closing a bundle are not measured."""


@dataclass(frozen=True)
class Half:
    """One half of a round: the report of its rate, and what the shadow took meanwhile."""

    row: Mapping[str, Any]
    cpu_seconds: float
    compared: int

    @property
    def p50(self) -> float:
        """Median time of an answer in ms, by the client."""
        return float(self.row["latency_ms"]["p50"])


@dataclass(frozen=True)
class Service:
    """The running service and the bundle beside the pointer that is to be its shadow."""

    http: httpx.Client
    shadow: str

    def set(self, shadow: bool) -> None:
        """Begins or ends the shadow; raises LoadError if it cannot."""
        reply = (self.http.post("/admin/shadow", json={"bundle": self.shadow}) if shadow
                 else self.http.delete("/admin/shadow"))
        if reply.status_code != httpx.codes.OK:
            error = reply.json()
            raise LoadError(f"{error['error_type']}: {error['message']}; {error['help']}")
        time.sleep(_SETTLE_SECONDS)

    def taken(self) -> tuple[float, int]:
        """Processor seconds of all comparisons so far, and their number."""
        values: dict[str, float] = {_CPU: 0.0, _COMPARED: 0.0}
        for sample in self.http.get("/admin/metrics").raise_for_status().json()["samples"]:
            if sample["name"] in values:
                values[sample["name"]] += sample["value"]
        return values[_CPU], int(values[_COMPARED])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--url", required=True, help="the running service, such as http://127.0.0.1:8080")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that it serves; users are drawn from it")
    parser.add_argument("--shadow", required=True, metavar="NAME", help="the bundle beside the pointer to compare with")
    parser.add_argument("--rate", type=positive, help="requests per second (default: half of the goodput within "
                                                      f"{_TIMEOUT_MS:g} ms, which is measured first)")
    parser.add_argument("--seconds", type=positive, default=15.0, help="of each half of a round (default %(default)g)")
    parser.add_argument("--rounds", type=int, default=6, help="(default %(default)s)")
    parser.add_argument("--top-k", type=int, default=100, help="ads per request (default %(default)s)")
    parser.add_argument("--pid", type=int, help="process id of the service, if it runs here: reports its "
                                                "processor time")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and arrivals (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 fine, 1 the service, bundle or process cannot be used, 2 no round was reported because of lag."""
    try:
        address, path = target_of(args.url)
        load = Load(address=address, path=path, users=users_of(args.bundle, None), zipf=1.0,
                    fields={"top_k": args.top_k}, headers=bearer(token_of(READ)), timeout_ms=None, even=False,
                    connections=64, seed=args.seed, pid=args.pid)
        with httpx.Client(base_url=args.url, headers=bearer(token_of(ADMIN)), timeout=150, trust_env=False) as http:
            service = Service(http, args.shadow)
            rate = args.rate or _half_of_goodput(load)
            rounds = [_round(service, load, rate, args.seconds, number) for number in range(1, args.rounds + 1)]
    except (LoadError, BundleError, psutil.Error, httpx.HTTPError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT
    report = report_of(rounds, rate, args.seconds)
    print(table(report))
    print(json.dumps(report, allow_nan=False))
    return 0 if report["rounds"] else LAGGED


def _half_of_goodput(load: Load) -> float:
    timed = Load(**{**vars(load), "timeout_ms": _TIMEOUT_MS})
    rows = measure(timed, [_FIRST_RATE], _SATURATION_SECONDS, find_saturation=True)
    best = max(row.get("goodput", 0.0) for row in rows)
    if not best:
        raise LoadError("the goodput could not be measured, since the load generator lagged; give --rate")
    return float(round(best / 2, 1))


def _round(service: Service, load: Load, rate: float, seconds: float, number: int) -> tuple[Half, Half]:
    """Both halves of a round: without and with the shadow, which comes first in every second one."""
    halves: dict[bool, Half] = {}
    for shadow in ((False, True) if number % 2 else (True, False)):
        if shadow:
            service.set(True)
        before = service.taken()
        row = one_rate(load, rate, seconds, number)
        after = service.taken()
        halves[shadow] = Half(row, after[0] - before[0], after[1] - before[1])
        if shadow:
            service.set(False)
    return halves[False], halves[True]


def report_of(rounds: Sequence[tuple[Half, Half]], rate: float, seconds: float) -> dict[str, Any]:
    """The figures of all rounds in which both halves were sent in time; medians, and the span of what is added."""
    kept = [pair for pair in rounds if all(half.row["reported"] and "latency_ms" in half.row for half in pair)]
    found: dict[str, Any] = {"rate": rate, "seconds": seconds, "left_out": len(rounds) - len(kept),
                             "rounds": [[half.p50 for half in pair] for pair in kept]}
    if not kept:
        return found
    added = [with_it.p50 - without.p50 for without, with_it in kept]
    shares = [(with_it.p50 / without.p50 - 1) for without, with_it in kept]
    p99 = [median(pair[side].row["latency_ms"]["p99"] for pair in kept) for side in (0, 1)]
    failed = sum(n for pair in kept for half in pair for status, n in half.row["statuses"].items() if status != "200")
    cpu = [[pair[side].row["cpu_ms"] for pair in kept if "cpu_ms" in pair[side].row] for side in (0, 1)]
    return found | {
        "p50_ms": [median(pair[side].p50 for pair in kept) for side in (0, 1)], "p99_ms": p99,
        "added_p50_ms": median(added), "added_p50": median(shares), "added_p50_span": [min(shares), max(shares)],
        "shadow_core": median(with_it.cpu_seconds / seconds for _, with_it in kept),
        "compared_a_second": median(with_it.compared / seconds for _, with_it in kept), "failed": failed,
        "cpu_ms": [median(values) for values in cpu] if all(cpu) else None}


def table(report: Mapping[str, Any]) -> str:
    """The report as a text table."""
    head = f"{report['rate']:g} requests a second, {report['seconds']:g} s a half, {len(report['rounds'])} rounds, " \
           f"{report['left_out']} left out because the load generator lagged"
    if not report["rounds"]:
        return head
    low, high = report["added_p50_span"]
    lines = [head, "", "                  without   with the shadow"]
    for name, key in (("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("CPU ms a request", "cpu_ms")):
        if report[key] is not None:
            lines.append(f"{name:16} {report[key][0]:8.3f} {report[key][1]:17.3f}")
    lines += ["", f"added p50: {report['added_p50_ms']:.3f} ms, {report['added_p50']:.1%} (rounds: {low:.1%} to "
                  f"{high:.1%})",
              f"processor: {report['shadow_core']:.3f} of a core, {report['compared_a_second']:.1f} comparisons a "
              f"second; {report['failed']} requests failed"]
    return "\n".join(lines)
