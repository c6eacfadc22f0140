"""`python -m loadtest shadow`: what a bundle in the shadow adds to the answers of a service.

    python -m loadtest shadow --bundle bundles/one --shadow bundles/other

Starts two services of one worker, both on the bundle, one of them with the other bundle in the shadow. Open-loop
requests go to both in turn, each at half of the goodput that one alone was found to have, so that whatever else the
machine does meets both alike; they change roles after every round. Prints a table, then one JSON object on the last
line. A round whose load generator was too slow (`python -m loadtest http` says when) is left out; the exit status is 2
if none is left.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from index_store.bundle import pointer
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import Pointer
from loadtest.http.open_loop import (
    CANNOT,
    LAGGED,
    Load,
    LoadError,
    arrivals,
    measure,
    positive,
    sent,
    users_of,
)
from loadtest.http.report import report_of_rate
from loadtest.processes.logged_process import ProcessEndedError
from loadtest.processes.service_process import TOKEN, ServiceProcess, service_environment

_CPU = "retrieval_shadow_cpu_seconds_total"
_COMPARED = "retrieval_shadow_overlap_count"
_SATURATION_SECONDS, _FIRST_RATE, _TIMEOUT_MS = 4.0, 50.0, 50.0
_SETTLE_SECONDS = 1.0
"""After a shadow begins or ends, so that opening and closing a bundle are not measured."""


@dataclass(frozen=True)
class Half:
    """What one of the services has answered in a round, and what its shadow took meanwhile."""

    row: Mapping[str, Any]
    cpu_seconds: float = 0.0
    compared: int = 0

    @property
    def p50(self) -> float:
        """Median time of an answer in ms, by the client."""
        return float(self.row["latency_ms"]["p50"])


@dataclass(frozen=True)
class Replica:
    """One of the services."""

    service: ServiceProcess
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
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that both services serve")
    parser.add_argument("--shadow", type=Path, required=True, help="the bundle in the shadow")
    parser.add_argument("--rate", type=positive, help="requests per second to each service (default: half of the "
                                                      f"goodput within {_TIMEOUT_MS:g} ms, measured first)")
    parser.add_argument("--seconds", type=positive, default=15.0, help="of each round (default %(default)g)")
    parser.add_argument("--rounds", type=int, default=8, help="(default %(default)s)")
    parser.add_argument("--top-k", type=int, default=100, help="ads per request (default %(default)s)")
    parser.add_argument("--share", type=positive, default=0.05,
                        help="RETRIEVAL_SHADOW_SHARE of the services (default %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and arrivals (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 fine, 1 a bundle or service cannot be used, 2 no round was reported because of lag."""
    try:
        users = users_of(args.bundle, None)
        with TemporaryDirectory() as place, ExitStack() as stack:
            replicas = [_replica(Path(place, name), args, stack) for name in ("one", "two")]
            load = Load(address=replicas[0].service.address, path="", users=users, zipf=1.0,
                        fields={"top_k": args.top_k}, headers={}, timeout_ms=None, even=False, connections=64,
                        seed=args.seed, pid=None)
            rate = args.rate or _half_of_goodput(load)
            rounds = [_round(replicas[::1 if number % 2 else -1], load, rate, args.seconds, number)
                      for number in range(1, args.rounds + 1)]
    except (LoadError, BundleError, ProcessEndedError, TimeoutError, httpx.HTTPError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT
    report = report_of(rounds, rate, args.seconds)
    print(table(report))
    print(json.dumps(report, allow_nan=False))
    return 0 if report["rounds"] else LAGGED


def _replica(folder: Path, args: argparse.Namespace, stack: ExitStack) -> Replica:
    """A service on a folder of its own, in which both bundles are links."""
    folder.mkdir()
    for name, bundle in (("served", args.bundle), ("shadow", args.shadow)):
        (folder / name).symlink_to(bundle.resolve())
    pointer.replace(folder, Pointer("served"), None)
    environment = service_environment(RETRIEVAL_SHADOW_SHARE=str(args.share), RETRIEVAL_DRAIN_SECONDS="0")
    service = ServiceProcess(folder, folder.with_suffix(".log"), environment=environment)
    stack.enter_context(service)
    service.wait_until_ready()
    http = stack.enter_context(httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {TOKEN}"},
                                            timeout=150, trust_env=False))
    return Replica(service, http, "shadow")


def _half_of_goodput(load: Load) -> float:
    [rows] = measure([replace(load, timeout_ms=_TIMEOUT_MS)], [_FIRST_RATE], _SATURATION_SECONDS, find_saturation=True)
    best = max(row.get("goodput", 0.0) for row in rows)
    if not best:
        raise LoadError("the goodput could not be measured, since the load generator lagged; give --rate")
    return float(round(best / 2, 1))


def _round(replicas: Sequence[Replica], load: Load, rate: float, seconds: float, number: int) -> tuple[Half, Half]:
    """What the first one answered without a shadow, and the second one with it, at the same time."""
    without, shadowed = replicas
    shadowed.set(True)
    before = shadowed.taken()
    exchanges, _ = sent(load, [without.service.address, shadowed.service.address],
                        arrivals(load, 2 * rate, seconds, number))
    after = shadowed.taken()
    shadowed.set(False)
    rows = [report_of_rate(rate, seconds, exchanges[side::2], None, None) for side in (0, 1)]
    return Half(rows[0]), Half(rows[1], after[0] - before[0], after[1] - before[1])


def report_of(rounds: Sequence[tuple[Half, Half]], rate: float, seconds: float) -> dict[str, Any]:
    """The figures of all rounds that were sent in time; medians, and the span of what is added."""
    kept = [pair for pair in rounds if all(half.row["reported"] and "latency_ms" in half.row for half in pair)]
    found: dict[str, Any] = {"rate": rate, "seconds": seconds, "left_out": len(rounds) - len(kept),
                             "rounds": [[half.p50 for half in pair] for pair in kept]}
    if not kept:
        return found
    shares = [with_it.p50 / without.p50 - 1 for without, with_it in kept]
    p99 = [median(pair[side].row["latency_ms"]["p99"] for pair in kept) for side in (0, 1)]
    failed = [sum(n for pair in kept for status, n in pair[side].row["statuses"].items() if status != "200")
              for side in (0, 1)]
    return found | {
        "p50_ms": [median(pair[side].p50 for pair in kept) for side in (0, 1)], "p99_ms": p99,
        "added_p50_ms": median(with_it.p50 - without.p50 for without, with_it in kept),
        "added_p50": median(shares), "added_p50_span": [min(shares), max(shares)],
        "shadow_core": median(with_it.cpu_seconds / seconds for _, with_it in kept),
        "compared_a_second": median(with_it.compared / seconds for _, with_it in kept), "failed": failed}


def table(report: Mapping[str, Any]) -> str:
    """The report as a text table."""
    head = f"{report['rate']:g} requests a second to each service, {len(report['rounds'])} rounds of " \
           f"{report['seconds']:g} s, {report['left_out']} left out because the load generator lagged"
    if not report["rounds"]:
        return head
    low, high = report["added_p50_span"]
    lines = [head, "", "          without   with the shadow"]
    lines += [f"{name:8} {report[key][0]:8.3f} {report[key][1]:17.3f}"
              for name, key in (("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"))]
    lines += [f"failed   {report['failed'][0]:8d} {report['failed'][1]:17d}", "",
              f"added p50: {report['added_p50_ms']:.3f} ms, {report['added_p50']:.1%} (rounds: {low:.1%} to "
              f"{high:.1%})",
              f"processor: {report['shadow_core']:.3f} of a core, {report['compared_a_second']:.1f} comparisons a "
              "second"]
    return "\n".join(lines)
