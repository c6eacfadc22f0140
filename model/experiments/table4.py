"""Table 4: the joint index, without each of its three training techniques in turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.config.hill import HillConfig
from model.experiments import monn_runs
from model.experiments.cells import Done, Experiment, Report
from model.experiments.figures import by_slug, change_percent, summary, table, text, to_json
from model.export.beam_tuning import TARGET_OVERLAP

_END = HillConfig().sharpness[1]
VARIANTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "monn-joint": ("all three", {}, ""),
    "monn-joint-no-schedule": ("without the temperature schedule", {"hill": {"sharpness": [_END, _END]}}, "+0.10 %"),
    "monn-joint-no-balance": ("without balance", {"hill": {"balance_weight": 0.0}}, "+0.05 %"),
    "monn-joint-no-warm-up": ("without warm-up", {"index_warm_up": 0.0}, "+0.03 %"),
}
"""Slug -> name, changed settings, and the paper's change of NE. Without the schedule the attention has its final
sharpness from the start."""


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One row for each technique left out; the first row is Table 5's joint index."""
    return [(monn_runs.KIND, slug, monn_runs.settings(data, small, tree="joint", **changes))
            for slug, (_, changes, _) in VARIANTS.items()]


def report(done: Sequence[Done]) -> Report:
    """NE of the model, and the overlap of a beam on its tree."""
    results, rows, lines = by_slug(done), [], []
    everything = [monn_runs.entropy(result) for result in results["monn-joint"]]
    for slug, (name, _, paper) in VARIANTS.items():
        own = results[slug]
        ne = [monn_runs.entropy(result) for result in own]
        change = change_percent(ne, everything)
        needed = {nodes: summary([monn_runs.percent_for(r, "joint", nodes) for r in own])
                  for nodes in ("scorer", "oracle")}
        rows.append({"name": name, "ne": to_json(summary(ne)), "change": to_json(change), "paper": paper or None,
                     **{f"percent_{nodes}": to_json(value) for nodes, value in needed.items()}})
        lines.append([name, text(summary(ne)), "" if slug == "monn-joint" else text(change, "+.2f") + " %", paper,
                      *(text(value, ".2f") for value in needed.values())])
    header = ["training", "NE", "against all three", "in the paper", f"% of the pairs for overlap@100 {TARGET_OVERLAP}",
              "by the oracle"]
    note = (f"\nMean over {len(everything)} seed(s) ± sample standard deviation; changes are means over pairs of runs "
            "with the same seed. The paper's figures are on Gowalla.\n")
    return Report(table(header, lines) + note, {"seeds": len(everything), "rows": rows})


TABLE = Experiment("table4", "the joint index without each of its techniques", monn_runs.check_log, configurations,
                   monn_runs.run, report)
