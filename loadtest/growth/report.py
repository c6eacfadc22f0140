"""The report of `grow`: costs against the number of ads, as JSON, Markdown and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from loadtest.bench.pareto import P50, PAIRS, TARGET, cost_at
from loadtest.bench.report import COLOURS, KINDS, LABELS, plain_ticks, save, table

STEPS = ("data", "run", "bundle", "run_dot", "bundle_dot", "opening", "bench")


def write(report: Mapping[str, Any], out: Path) -> None:
    """Writes `grow.json`, `grow.md`, `growth.svg` and `growth.png` into a folder."""
    (out / "grow.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    (out / "grow.md").write_text(markdown(report) + "\n")
    save(growth(report), out, "growth")


def markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown tables: the cost of a query, of each step, and of opening a bundle."""
    sizes = report["sizes"]
    parts = [f"Median milliseconds at overlap@100 {TARGET}, interpolated; - if no setting reached it.", "",
             table(("ads", "exhaustive", *KINDS, "beam: pairs", "of the ads"), [
                 (f"{size['ads']:,}", f"{size['bench']['exhaustive'][P50]:.1f}",
                  *(_number(cost_at(size["bench"].get(kind, []), TARGET), "{:.2f}") for kind in KINDS),
                  _number(pairs, "{:,.0f}"), _number(pairs and pairs / size["ads"], "{:.2%}"))
                 for size in sizes for pairs in [cost_at(size["bench"]["beam"], TARGET, PAIRS)]]), ""]
    parts += [f"From {step['from']:,} to {step['to']:,} ads, {step['ads']:.0f} times more: beam p50 x "
              f"{_number(step['beam_p50_ms'], '{:.2f}')}, beam pairs x {_number(step['beam_pairs'], '{:.2f}')}, "
              f"exhaustive p50 x {step['exhaustive_p50_ms']:.2f}." for step in report["growth"]]
    parts += ["", "Seconds and peak memory (GiB) of each step.", "",
              table(("ads", *STEPS), [(f"{size['ads']:,}", *(_cost(size["steps"].get(step)) for step in STEPS))
                                      for size in sizes]), "",
              table(("ads", "bundle, MiB", "verified, s", "opened, s", "private, MiB", "of the bundle"),
                    [(f"{size['ads']:,}", *_opening(size["opening"])) for size in sizes]), ""]
    parts += [f"{size['ads']:,} ads: {size['bench']['in_words']}" for size in sizes]
    return "\n".join(parts)


def growth(report: Mapping[str, Any]) -> Figure:
    """Latency and pairs at equal overlap against the number of ads, on logarithmic axes."""
    figure = Figure((10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, cost, title in ((left, P50, "median latency of a search, ms"), (right, PAIRS, "pairs scored a query")):
        _panel(axes, report["sizes"], cost)
        axes.set(xscale="log", yscale="log", xlabel="ads", title=title)
        plain_ticks(axes.yaxis)
        axes.set_xticks([size["ads"] for size in report["sizes"]], [f"{size['ads']:,}" for size in report["sizes"]])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"At overlap@100 {TARGET}, one thread, one scorer")
    return figure


def _panel(axes: Axes, sizes: list[Mapping[str, Any]], cost: str) -> None:
    for kind in ("exhaustive", *KINDS):
        costs = [(size["ads"], size["bench"]["exhaustive"][cost] if kind == "exhaustive"
                  else cost_at(size["bench"].get(kind, []), TARGET, cost)) for size in sizes]
        reached = [(ads, value) for ads, value in costs if value is not None]
        if reached:
            axes.plot(*zip(*reached, strict=True), marker="o", color=COLOURS[kind], label=LABELS[kind])


def _number(value: float | None, shape: str) -> str:
    return "-" if value is None else shape.format(value)


def _cost(step: Mapping[str, Any] | None) -> str:
    return "-" if step is None else f"{step['seconds']:.0f} s, {step['peak_bytes'] / 2**30:.1f}"


def _opening(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"{found['bundle_bytes'] / 2**20:.0f}", f"{found['verify_seconds']:.2f}", f"{found['open_seconds']:.2f}",
            f"{found['private_bytes'] / 2**20:.0f}", f"{found['private_share']:.1%}")
