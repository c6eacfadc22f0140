"""Charts of a run as SVG: curves of its epochs, and recall of slices."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_WIDTH, _HEIGHT = 4.6, 3.0


def curves(epochs: Sequence[Mapping[str, Any]]) -> str:
    """The figures of epochs, those of a kind in one chart.

    Args:
        epochs: reports of whole epochs, as the run's log holds them.

    Returns:
        SVG, empty without figures.
    """
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch))
    kinds = {"loss": [name for name in names if name.startswith("loss_")],
             "NE": [name for name in names if "ne_" in name or name.endswith("_ne")],
             "held-out recall": [name for name in names if name.startswith("held_out_recall")]}
    kinds = {kind: own for kind, own in kinds.items() if own}
    figure, axes = _row_of(len(kinds))
    for axis, (kind, own) in zip(axes, kinds.items(), strict=True):
        for name in own:
            points = [(epoch["epoch"], epoch[name]) for epoch in epochs if epoch.get(name) is not None]
            axis.plot(*zip(*points, strict=True), "o-", markersize=3, label=name.removeprefix("loss_")
                      ) if points else None
        axis.set_title(kind)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return _svg(figure) if kinds else ""


def recall_of_slices(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Recall of the slices that `evaluation.slices` measured: SVG."""
    titles = {"history": ("train positives of the user", "users"),
              "popularity": ("train positives of the ad to find", "pairs")}
    figure, axes = _row_of(len(titles))
    for axis, (name, (title, unit)) in zip(axes, titles.items(), strict=True):
        _bars(axis, slices[name], unit)
        axis.set_xlabel(title)
        axis.set_ylabel("recall")
        axis.legend(fontsize=8)
    return _svg(figure)


def _bars(axis: Axes, parts: Sequence[Mapping[str, Any]], unit: str) -> None:
    """A bar a cut-off for each slice, with the standard error where it is known."""
    cutoffs = [name for name in parts[0] if name.startswith("recall@")]
    width = 0.8 / len(cutoffs)
    for number, name in enumerate(cutoffs):
        errors = [part.get(f"se_{name}") or 0.0 for part in parts]
        axis.bar([at + number * width for at in range(len(parts))], [part[name] for part in parts], width,
                 yerr=errors if any(errors) else None, capsize=2, label=name.replace("recall@", "Recall@"))
    axis.set_xticks([at + 0.4 - width / 2 for at in range(len(parts))],
                    [f"{span(part)}\n{part[unit]:,} {unit}" for part in parts], fontsize=8)


def span(part: Mapping[str, Any]) -> str:
    """The bounds of a slice in words."""
    start, end = part["from"], part["to"]
    if end is None:
        return f"{start} or more"
    return str(start) if start == end else f"{start} to {end}"


def _row_of(charts: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(_WIDTH * max(1, charts), _HEIGHT), layout="constrained")
    return figure, figure.subplots(1, max(1, charts), squeeze=False)[0][:charts]


def _svg(figure: Figure) -> str:
    """The element alone, without the prologue of an XML file; the same figure gives the same text."""
    written = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()[written.getvalue().index("<svg"):]
