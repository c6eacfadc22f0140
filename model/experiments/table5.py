"""Table 5: HILL, its EM version, and a control that the paper lacks: k-means on a finished model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.experiments import monn_runs
from model.experiments.cells import Done, Experiment, Report
from model.experiments.figures import by_slug, change_percent, summary, table, text, to_json
from model.export.beam_tuning import TARGET_OVERLAP

TREES = {"posthoc": "k-means afterwards (control)", "em": "HILL (EM)", "joint": "HILL"}
PAPER = {"em": "-0.11 %", "joint": "-0.15 %"}


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One row per kind of tree; the control's model trains as long, but without a tree."""
    return [(monn_runs.KIND, f"monn-{tree}", monn_runs.settings(data, small, tree=tree)) for tree in TREES]


def report(done: Sequence[Done]) -> Report:
    """NE and recall of the model, and the overlap of a beam on its tree."""
    rows, lines = [], []
    results = by_slug(done)
    control = [monn_runs.entropy(result) for result in results["monn-posthoc"]]
    for tree, name in TREES.items():
        own = results[f"monn-{tree}"]
        ne = [monn_runs.entropy(result) for result in own]
        figures = {"ne": summary(ne),
                   "change": change_percent(ne, control),
                   **{f"recall@{k}": summary([r["quality"][f"recall@{k}"] for r in own]) for k in (20, 100)},
                   **{f"percent_{nodes}": summary([monn_runs.percent_for(r, tree, nodes) for r in own])
                      for nodes in ("scorer", "oracle")}}
        rows.append({"name": name, "tree": tree, "paper": PAPER.get(tree),
                     **{key: to_json(value) for key, value in figures.items()}})
        change = "" if tree == "posthoc" else text(figures["change"], "+.2f") + " %"
        lines.append([name, text(figures["ne"]), change, PAPER.get(tree, ""),
                      *(text(figures[key]) for key in ("recall@20", "recall@100")),
                      *(text(figures[key], ".2f") for key in ("percent_scorer", "percent_oracle"))])
    header = ["tree", "NE", "against the control", "in the paper", "Recall@20", "Recall@100",
              f"% of the pairs for overlap@100 {TARGET_OVERLAP}", "by the oracle"]
    note = (f"\nMean over {len(control)} seed(s) ± sample standard deviation; changes are means over pairs of runs "
            "with the same seed. NE, Recall: exhaustive search on the test events. The paper's figures are of "
            "two-layer stacks, against a baseline that it does not name.\n")
    return Report(table(header, lines) + note, {"seeds": len(control), "rows": rows})


TABLE = Experiment("table5", "HILL, EM version and k-means afterwards", monn_runs.check_log, configurations,
                   monn_runs.run, report)
