"""The report of open-loop load: goodput, percentiles and median stages of each rate, as a dict and as a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import orjson

from loadtest.http.client import Exchange

GRACE_MS = 5.0
"""How long after its deadline an answer still counts as in time: it bounds the work, not the transfer."""
MOST_LAG_MS = 2.0
_PERCENTILES = (50.0, 99.0, 99.9)


def report_of_rate(rate: float, seconds: float, exchanges: Sequence[Exchange], timeout_ms: float | None,
                   cpu_seconds: float | None) -> dict[str, Any]:
    """The figures of one rate; only its lag if sending lagged, since the others would be meaningless.

    Args:
        rate: scheduled requests per second.
        seconds: duration.
        exchanges: all requests.
        timeout_ms: their deadline, if any.
        cpu_seconds: processor time of the service meanwhile, if known.
    """
    lag = _percentiles([(e.sent - e.scheduled) * 1e3 if e.sent else np.inf for e in exchanges])
    row: dict[str, Any] = {"rate": rate, "sent": len(exchanges), "lag_ms": _finite(lag),
                           "reported": lag["p99"] <= MOST_LAG_MS}
    if not row["reported"]:
        return row
    limit = np.inf if timeout_ms is None else timeout_ms + GRACE_MS
    replied = [e for e in exchanges if e.status > 0]
    answered = [e for e in replied if e.status == 200]
    bodies = [orjson.loads(e.body) for e in answered]
    refusals = Counter(_error_type(e.body) for e in replied if e.status != 200)
    late = [e for e in replied if _latency_ms(e) > limit]
    row |= {"statuses": {str(status): n for status, n in sorted(Counter(e.status for e in exchanges).items())},
            "errors": dict(refusals), "goodput": sum(_latency_ms(e) <= limit for e in answered) / seconds,
            "in_time": 1 - len(late) / len(replied) if replied else None}
    if timeout_ms is not None and bodies:
        row["left_in_time"] = float(np.mean([body["latency_ms"]["total"] <= limit for body in bodies]))
    if bodies:
        stages = _stages(bodies)
        row |= {"latency_ms": _percentiles([_latency_ms(e) for e in answered]),
                "server_ms": _percentiles(stages["total"]),
                "stages_ms": {name: median(values) for name, values in stages.items()},
                "narrowed": float(np.mean(["deadline" in body["degraded"] for body in bodies])),
                "coverage": float(np.mean([body["coverage"] for body in bodies])),
                "pairs": float(np.mean([body["pairs_scored"] for body in bodies]))}
    if cpu_seconds is not None and replied:
        row["cpu_ms"] = cpu_seconds * 1e3 / len(replied)
        if bodies and "scorer" in stages and len(bodies) == len(replied):
            row["cpu_outside_scorer_ms"] = row["cpu_ms"] - float(np.mean(stages["scorer"]))
    return row


def table(report: dict[str, Any]) -> str:
    """The report as a text table."""
    lines = [f"{report['url']}: {report['seconds']:g} s per rate, {report['users']} users by Zipf's law, "
             f"arrivals {report['arrivals']}" + ("" if report["timeout_ms"] is None
                                                 else f", deadline {report['timeout_ms']:g} ms"), "",
             "  rate/s  goodput/s  in time  narrowed  p50 ms  p99 ms  p99.9 ms  server p50     p99  CPU ms  statuses"]
    for row in report["rates"]:
        if not row["reported"]:
            p99 = row["lag_ms"]["p99"]
            lag = "more than one in a hundred requests were never sent" if p99 is None else f"p99 {p99:.1f} ms"
            lines.append(f"{row['rate']:8.0f}  not reported: the load generator lagged, {lag} (limit "
                         f"{MOST_LAG_MS:g} ms)")
            continue
        nothing = dict.fromkeys(("p50", "p99", "p99.9"), float("nan"))
        latency, server = row.get("latency_ms", nothing), row.get("server_ms", nothing)
        outcomes = ", ".join([f"{n} x {status}" for status, n in row["statuses"].items()]
                             + [f"{n} {name}" for name, n in row["errors"].items()])
        lines.append(f"{row['rate']:8.0f} {row['goodput']:10.1f} {row['in_time'] or 0:8.2%} "
                     f"{row.get('narrowed', 0):9.1%} {latency['p50']:7.2f} {latency['p99']:7.2f} "
                     f"{latency['p99.9']:9.2f} {server['p50']:11.2f} {server['p99']:7.2f} "
                     f"{row.get('cpu_ms', float('nan')):7.2f}  {outcomes}")
        stages = [f"{name} {ms:.3f}" for name, ms in row.get("stages_ms", {}).items()]
        lines.append(f"          median ms: {', '.join(stages)}")
    return "\n".join(lines)


def side_by_side(reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each rate and service the medians over the runs that are reported; None where none has the figure."""
    found = []
    for rate in dict.fromkeys(row["rate"] for row in reports[0]["rates"]):
        for report in reports:
            runs = [row for row in report["rates"] if row["rate"] == rate and row["reported"]]
            figures = {"p50_ms": [row["latency_ms"]["p50"] for row in runs if "latency_ms" in row],
                       "server_p50_ms": [row["server_ms"]["p50"] for row in runs if "server_ms" in row],
                       "cpu_ms": [row["cpu_ms"] for row in runs if "cpu_ms" in row]}
            found.append({"url": report["url"], "rate": rate, "runs": len(runs),
                          **{name: median(values) if values else None for name, values in figures.items()}})
    return found


def comparison(medians: Sequence[dict[str, Any]]) -> str:
    """The medians as a text table, each with its ratio to that of the first service at the same rate."""
    lines = ["", "medians over the runs of a rate, and ratios to the first service:", "",
             "  rate/s  runs          p50 ms      server p50          CPU ms  service"]
    first = {row["rate"]: row for row in reversed(medians)}
    for row in medians:
        cells = []
        for name in ("p50_ms", "server_p50_ms", "cpu_ms"):
            value, base = row[name], first[row["rate"]][name]
            ratio = "" if value is None or not base else f" ({value / base:.3f})"
            cells.append(f"{'-' if value is None else f'{value:.3f}'}{ratio}".rjust(15))
        lines.append(f"{row['rate']:8.0f} {row['runs']:5d} {' '.join(cells)}  {row['url']}")
    return "\n".join(lines)


def _latency_ms(exchange: Exchange) -> float:
    """From the scheduled time, so that a stalled sender cannot hide a stalled service."""
    return (exchange.answered - exchange.scheduled) * 1e3


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    # Without interpolation, since values may be infinite.
    found = np.percentile(values, _PERCENTILES, method="inverted_cdf")
    return {f"p{p:g}": float(value) for p, value in zip(_PERCENTILES, found, strict=True)}


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    """The value, or None if it is infinite, the lag of requests that were never sent, since JSON has no infinity."""
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def _stages(bodies: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Milliseconds by stage; levels are named `level_1` and so on."""
    stages: dict[str, list[float]] = defaultdict(list)
    for body in bodies:
        for name, value in body["latency_ms"].items():
            if name != "levels":
                stages[name].append(value)
        for level in body["latency_ms"]["levels"]:
            stages[f"level_{level['level']}"].append(level["ms"])
    return stages


def _error_type(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error_type"])
    except (ValueError, KeyError, TypeError):
        return "not a refusal of this service"
