"""Figures of canary and shadow, from the metrics of all workers of a replica."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

Sample = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""

_CLIENT, _SERVER = 400, 500


class Samples:
    """Samples of metrics by their names.

    Args:
        samples: of all processes.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._by_name: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for name, labels, value in samples:
            self._by_name[name].append((labels, value))

    def of(self, name: str, **labels: str) -> list[tuple[Mapping[str, str], float]]:
        """Labels and values of the samples with these labels."""
        return [(given, value) for given, value in self._by_name[name] if labels.items() <= given.items()]

    def sum(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.of(name, **labels))

    def mean(self, name: str, **labels: str) -> float:
        """Mean of a histogram; 0 if it is empty."""
        return self.sum(f"{name}_sum", **labels) / (self.sum(f"{name}_count", **labels) or 1.0)

    def quantile(self, name: str, wanted: float, **labels: str) -> float | None:
        """A quantile of a histogram, evenly within its bucket; None if it is empty."""
        edges = sorted((float(given["le"]), value) for given, value in self.of(f"{name}_bucket", **labels))
        low = before = 0.0
        for edge, value in edges if edges and edges[-1][1] else []:
            if value >= wanted * edges[-1][1]:
                return low if edge == float("inf") else low + (edge - low) * (
                    (wanted * edges[-1][1] - before) / ((value - before) or 1.0))
            low, before = edge, value
        return None

    def labels(self, name: str, *names: str) -> list[dict[str, str]]:
        """The different values of some labels, sorted."""
        return [dict(zip(names, values, strict=True)) for values in sorted(
            {tuple(given[label] for label in names) for given, _ in self._by_name[name]})]


def trial_figures(samples: Iterable[Sample]) -> dict[str, Any]:
    """The part of GET /admin/trials that the metrics tell."""
    found = Samples(samples)
    return {
        "sides": [_side(found, labels) for labels in found.labels("retrieval_side_requests_total", "side",
                                                                  "bundle_id")],
        "fallbacks": _counts(found, "retrieval_canary_fallbacks_total"),
        "shadows": [_shadow(found, labels) for labels in found.labels("retrieval_shadow_overlap_count", "bundle_id",
                                                                      "beside")],
        "skipped": _counts(found, "retrieval_shadow_skipped_total"),
        "shadow_cpu_seconds": round(found.sum("retrieval_shadow_cpu_seconds_total"), 3)}


def _counts(found: Samples, name: str) -> dict[str, int]:
    return {labels["reason"]: int(value) for labels, value in found.of(name)}


def _side(found: Samples, labels: dict[str, str]) -> dict[str, Any]:
    by_status = [(int(given["status"]), value) for given, value in found.of("retrieval_side_requests_total", **labels)]
    quantiles = [found.quantile("retrieval_side_seconds", wanted, **labels) for wanted in (0.5, 0.99)]
    p50, p99 = (None if seconds is None else round(seconds * 1000, 3) for seconds in quantiles)
    return {**labels, "requests": int(sum(value for _, value in by_status)),
            "refused": int(sum(value for status, value in by_status if _CLIENT <= status < _SERVER)),
            "failed": int(sum(value for status, value in by_status if status >= _SERVER)),
            "degraded": int(found.sum("retrieval_side_degraded_total", **labels)), "p50_ms": p50, "p99_ms": p99}


def _shadow(found: Samples, labels: dict[str, str]) -> dict[str, Any]:
    scales = found.labels("retrieval_shadow_drift_count", "bundle_id", "beside", "task", "scale")
    drift = [{"task": entry["task"], "scale": entry["scale"],
              "mean": round(found.mean("retrieval_shadow_drift", **entry), 6)}
             for entry in scales if labels.items() <= entry.items()]
    cpu, current = (round(found.mean("retrieval_shadow_seconds", **labels, side=side) * 1000, 4)
                    for side in ("shadow", "current"))
    return {**labels, "compared": int(found.sum("retrieval_shadow_overlap_count", **labels)),
            "overlap": round(found.mean("retrieval_shadow_overlap", **labels), 4), "drift": drift, "cpu_ms": cpu,
            "current_cpu_ms": current}
