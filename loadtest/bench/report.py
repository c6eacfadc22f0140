"""The report of a bench: JSON, Markdown and the Pareto plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from loadtest.bench.pareto import BASELINES, OVERLAP, P50, TARGET, front

BENCH = "bench.json"
KINDS = ("beam", *BASELINES)
COLOURS = {"beam": "#0072b2", "hnsw": "#d55e00", "ivf": "#009e73", "graph": "#cc79a7", "distilled": "#e69f00",
           "usearch": "#56b4e9", "voyager": "#8c6d31", "scann": "#7f7f7f", "exhaustive": "#000000"}
LABELS = {"beam": "beam over the tree", "hnsw": "two-tower HNSW, reranked", "ivf": "two-tower IVF, reranked",
          "graph": "HNSW walked by the scorer", "distilled": "distilled vectors, FAISS, reranked",
          "usearch": "the same, usearch", "voyager": "the same, voyager", "scann": "the same, ScaNN",
          "exhaustive": "exhaustive"}
COLUMNS = (("overlap@100", "{:.3f}"), ("recall@20", "{:.4f}"), ("recall@100", "{:.4f}"), ("pairs", "{:,.0f}"),
           ("p50_ms", "{:.2f}"), ("p95_ms", "{:.2f}"), ("search_ms", "{:.2f}"), ("kernel_ms", "{:.2f}"))


def write(report: Mapping[str, Any], out: Path) -> None:
    """Writes `bench.json`, `bench.md`, `pareto.svg` and `pareto.png` into a folder, which is created if missing."""
    out.mkdir(parents=True, exist_ok=True)
    (out / BENCH).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    (out / "bench.md").write_text(markdown(report) + "\n")
    save(pareto(report), out, "pareto")


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a Markdown table with its summary."""
    rows = [report["exhaustive"], *(row for kind in KINDS for row in report[kind])]
    known = "" if report["fresh_users"] else " The bundle's beam was tuned on these users; there are no others."
    lines = [f"{report['ads']:,} ads; quality over {report['quality_users']:,} users, latency over "
             f"{report['timed_queries']:,} queries, one at a time on one thread.{known}", "",
             table(("search", *(name for name, _ in COLUMNS), "of the ads"),
                   [(row["name"], *(shape.format(row[name]) for name, shape in COLUMNS),
                     f"{row['pairs'] / report['ads']:.2%}") for row in rows]),
             "", "\\* the bundle's default. Pairs are those scored by the scorer; distances computed inside an index "
             "are not counted.", "", report["in_words"]]
    return "\n".join(lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that its source is readable; every column but the first is right-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.rjust(width) if at else cell.ljust(width)
                                 for at, (cell, width) in enumerate(zip(cells, widths, strict=True))) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def pareto(report: Mapping[str, Any]) -> Figure:
    """Overlap against median latency: a point per row, a line per kind of search along its Pareto front."""
    figure = Figure((8, 5), layout="constrained")
    axes = figure.add_subplot()
    for kind in KINDS:
        if not report[kind]:
            continue
        axes.scatter([row[P50] for row in report[kind]], [row[OVERLAP] for row in report[kind]], s=14, alpha=0.45,
                     color=COLOURS[kind], linewidths=0)
        best = front(report[kind])
        axes.plot([row[P50] for row in best], [row[OVERLAP] for row in best], marker="o", markersize=4,
                  color=COLOURS[kind], label=LABELS[kind])
    axes.plot(report["exhaustive"][P50], 1.0, marker="*", markersize=12, linestyle="none",
              color=COLOURS["exhaustive"], label=LABELS["exhaustive"])
    axes.axhline(TARGET, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="median latency of a search, ms", ylabel="overlap@100 with exhaustive",
             ylim=(0, 1.03), title=f"{report['ads']:,} ads, one thread, one scorer")
    plain_ticks(axes.xaxis)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", frameon=False)
    return figure


def plain_ticks(axis: Axis) -> None:
    """Labels a logarithmic axis at 1, 2 and 5 of each decade, in plain notation."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, out: Path, name: str) -> None:
    """Writes a figure as SVG and PNG."""
    figure.savefig(out / f"{name}.svg")
    figure.savefig(out / f"{name}.png", dpi=150)
