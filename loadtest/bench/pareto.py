"""Pareto fronts of a bench: compares the rows of each kind of search at equal overlap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

OVERLAP = "overlap@100"
P50 = "p50_ms"
PAIRS = "pairs"
TARGET = 0.95
BASELINES = ("hnsw", "ivf", "graph", "distilled", "usearch", "voyager", "scann")

Row = Mapping[str, Any]


def front(rows: Sequence[Row], cost: str = P50) -> list[Row]:
    """The rows that no other row beats in both overlap and cost, cheapest first."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda r: (r[cost], -r[OVERLAP])):
        if not kept or row[OVERLAP] > kept[-1][OVERLAP]:
            kept.append(row)
    return kept


def cost_at(rows: Sequence[Row], overlap: float, cost: str = P50) -> float | None:
    """The cost of an overlap on the front of the rows, or None if no row reaches it.

    Between two rows the logarithm of the cost is interpolated linearly in the overlap. An overlap below that of the
    cheapest row costs as much as that row.
    """
    best = front(rows, cost)
    if not best or best[-1][OVERLAP] < overlap:
        return None
    if best[0][OVERLAP] >= overlap:
        return float(best[0][cost])
    low, high = next((a, b) for a, b in pairwise(best) if b[OVERLAP] >= overlap)
    share = (overlap - low[OVERLAP]) / (high[OVERLAP] - low[OVERLAP])
    return math.exp((1 - share) * math.log(low[cost]) + share * math.log(high[cost]))


def summary(report: Mapping[str, Any], overlap: float = TARGET) -> dict[str, Any]:
    """The beam against the exhaustive search and the best baseline, at one overlap.

    Keys with `rival` refer to the baselines; they keep their names, because programs read them.

    Returns:
        `overlap`; `beam`: the row with the lowest p50 that reaches it, or None; `beam_p50_ms`, `beam_pairs`:
        interpolated at exactly this overlap; `speed_up` of that row over the exhaustive search; `rivals`: kind ->
        interpolated p50, or None if no row reaches it; `best_rival` of these, or None; `speed_up_over_best_rival` of
        the row, None if there is nothing to compare with. A speed-up below 1 means that the beam is slower.
    """
    reaching = [row for row in report["beam"] if row[OVERLAP] >= overlap]
    beam = min(reaching, key=lambda row: row[P50], default=None)
    baselines = {kind: cost_at(report[kind], overlap) for kind in BASELINES if report.get(kind)}
    reached = {kind: ms for kind, ms in baselines.items() if ms is not None}
    best = min(reached, key=lambda kind: reached[kind], default=None)
    return {"overlap": overlap, "beam": beam, "beam_p50_ms": cost_at(report["beam"], overlap),
            "beam_pairs": cost_at(report["beam"], overlap, PAIRS),
            "speed_up": report["exhaustive"][P50] / beam[P50] if beam else None,
            "rivals": baselines, "best_rival": best,
            "speed_up_over_best_rival": reached[best] / beam[P50] if beam and best else None}


def in_words(report: Mapping[str, Any]) -> str:
    """The summary of a report as sentences."""
    found = report["summary"]
    sentences = [_of_beam(report)]
    for kind, ms in found["rivals"].items():
        best = max(report[kind], key=lambda row: row[OVERLAP])
        if ms is None:
            sentences.append(f"{kind}: none reached it; best {best[OVERLAP]:.3f} at {best[P50]:.2f} ms.")
        else:
            sentences.append(f"{kind}: {ms:.2f} ms at overlap {found['overlap']}, interpolated.")
    if found["speed_up_over_best_rival"] is not None:
        sentences.append(f"The beam is {compared(found['speed_up_over_best_rival'], 2)} the best baseline, "
                         f"{found['best_rival']}.")
    return " ".join(sentences)


def compared(speed_up: float, digits: int = 1) -> str:
    """A speed-up in words, to be followed by what it is compared with, such as `2.0 times slower than`."""
    faster, slower = f"{speed_up:.{digits}f}", f"{1 / speed_up:.{digits}f}"
    if float(faster) == 1.0 or float(slower) == 1.0:
        return "as fast as"
    return f"{faster} times faster than" if speed_up > 1 else f"{slower} times slower than"


def _of_beam(report: Mapping[str, Any]) -> str:
    found, ads = report["summary"], report["ads"]
    beam, overlap = found["beam"], found["overlap"]
    if beam is None:
        nearest = max(report["beam"], key=lambda row: row[OVERLAP])
        return (f"No beam reached overlap {overlap}; the nearest is {nearest['name']}: {nearest[OVERLAP]:.3f} at "
                f"{nearest[P50]:.2f} ms.")
    return (f"Cheapest beam with overlap >= {overlap}: {beam['name']}, {beam[OVERLAP]:.3f} at {beam[P50]:.2f} ms "
            f"(search {beam['search_ms']:.2f} ms, kernel {beam['kernel_ms']:.2f} ms), {beam['pairs']:.0f} pairs "
            f"({beam['pairs'] / ads:.2%} of the ads), {compared(found['speed_up'])} exhaustive.")
