"""Overlap@100 with the exhaustive search against pairs scored, for each tree and for the oracle of each tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.experiments import monn_runs, table5
from model.experiments.cells import Done, Experiment, Report
from model.experiments.figures import by_slug, summary, table, text, to_json

SHARES = (0.01, 0.02, 0.05, 0.10, 0.20)
NAMES = {"em": "its own, by EM", "joint": "its own, joint", "posthoc": "its own, k-means on item embeddings"}
NODES = {"scorer": "-", "oracle": "--"}
"""What scores the nodes -> its line style in the plot."""


def report(done: Sequence[Done]) -> Report:
    """One row for each tree over each model; the trees of a model are compared with the same scorer."""
    rows, lines = [], []
    results = by_slug(done)
    for slug, own in results.items():
        for tree in _trees(slug, own):
            found = {nodes: [summary([monn_runs.overlap_at(r, tree, nodes, share) for r in own]) for share in SHARES]
                     for nodes in NODES}
            rows.append({"model": slug, "tree": tree, "nodes": own[0]["trees"][tree]["nodes"],
                         **{nodes: {f"{share:.0%}": to_json(value) for share, value in zip(SHARES, values, strict=True)}
                            for nodes, values in found.items()}})
            for nodes, values in found.items():
                lines.append([slug, NAMES.get(tree, tree), nodes, *(text(value, ".3f") for value in values)])
    header = ["model", "tree", "nodes scored by", *(f"{share:.0%} of the pairs" for share in SHARES)]
    seeds = len(next(iter(results.values())))
    note = (f"\nOverlap@100 with the exhaustive search of the same model; mean over {seeds} seed(s) ± sample standard "
            "deviation. The oracle knows the best score below a node: what it misses is due to the tree, the rest to "
            "the node scorer. A dash: no beam is as cheap.\n")
    return Report(table(header, lines) + note, {"seeds": seeds, "rows": rows},
                  lambda path: _draw(results, path))


def _trees(slug: str, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The trees that were measured over a model, each once: the control's own is k-means on item embeddings."""
    return [tree for tree in results[0]["trees"] if slug != "monn-posthoc" or tree != "k-means on item embeddings"]


def _draw(results: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    figure = Figure(figsize=(5 * len(results), 4.2), layout="constrained")
    axes = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for axis, (slug, own) in zip(axes, results.items(), strict=True):
        for place, tree in enumerate(_trees(slug, own)):
            for nodes, line in NODES.items():
                share, mean = _mean_curve([r["trees"][tree][nodes] for r in own], own[0]["items"])
                axis.plot(100 * share, mean, line, color=f"C{place}",
                          label=NAMES.get(tree, tree) if nodes == "scorer" else None)
        axis.set_title(f"model of {slug}")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("pairs scored, % of the ads")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, title="dashed: by the oracle", title_fontsize=8)
    axes[0].set_ylabel("overlap@100 with the exhaustive search")
    figure.savefig(path, dpi=120)


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]], items: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the seeds' curves over the range that all of them cover: shares of the items, overlaps."""
    first, last = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    pairs = np.geomspace(first, max(first, last), 60)
    return pairs / items, np.mean([np.interp(pairs, *np.transpose(curve)) for curve in curves], axis=0)


TABLE = Experiment("overlap", "overlap@100 against pairs scored, for each tree and its oracle", monn_runs.check_log,
                   table5.configurations, monn_runs.run, report)
