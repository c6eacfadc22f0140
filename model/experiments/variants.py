"""Design choices, one at a time: over-archs, node features, distillation, settings of the joint index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.config.monn import SIZES
from model.data.load import load_dataset
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import by_slug, change_percent, summary, table, text, to_json
from model.runs.checkpoint import RunFolder
from model.training.trainer import train

SHARE = 0.05
DISTILLED = "distilled"
"""Kind of a cell that first trains its teacher, a MoNN Large without a tree in its loss."""

VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "monn-em": ("Wukong, node features by maximum, EM", monn_runs.KIND, {"tree": "em"}),
    "monn-deepfm": ("over-arch DeepFM", monn_runs.KIND, {"tree": "em", "model": {"over_arch": "deepfm"}}),
    "monn-dhen": ("over-arch DHEN", monn_runs.KIND, {"tree": "em", "model": {"over_arch": "dhen"}}),
    "monn-representative": ("node features of the representative", monn_runs.KIND,
                            {"tree": "em", "node_features": "representative"}),
    "monn-distilled": ("taught by MoNN Large", DISTILLED, {"tree": "em"}),
    "monn-joint": ("joint index, gradient stopped", monn_runs.KIND, {"tree": "joint"}),
    "monn-joint-gradient": ("joint index, gradient joint", monn_runs.KIND,
                            {"tree": "joint", "hill": {"gradient": "joint"}}),
    "monn-joint-shared": ("joint index, one codebook a level", monn_runs.KIND,
                          {"tree": "joint", "hill": {"codebooks": "shared"}}),
}
"""Slug -> name, kind of cell, and its settings; the other rows are compared with the first."""


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One row a choice; those of the trees are Table 5's."""
    rows = []
    for slug, (_, kind, changes) in VARIANTS.items():
        common = monn_runs.settings(data, small)
        model = common.pop("model", {}) | changes.get("model", {})
        rows.append((kind, slug, {**common, **changes, **({"model": model} if model else {})}))
    return rows


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains and measures a cell, after its teacher if it has one."""
    if cell.kind == monn_runs.KIND:
        return monn_runs.run(cell, data, work)
    tiny = {name: value for name, value in cell.settings.get("model", {}).items() if name != "over_arch"}
    taught = Cell(monn_runs.KIND, "teacher", {**cell.settings, "tree": "posthoc",
                                              "model": {**asdict(SIZES["large"]), **tiny}}, cell.seed)
    teacher = work / "teacher"
    train(data, load_dataset(data), monn_runs.config_of(taught), teacher,
          resume=RunFolder(teacher).has_checkpoint)
    return monn_runs.run(cell, data, work / "student", str(teacher.resolve()))


def report(done: Sequence[Done]) -> Report:
    """NE and recall of the model, and the overlap of a beam on its tree."""
    results, rows, lines = by_slug(done), [], []
    first = [monn_runs.entropy(result) for result in next(iter(results.values()))]
    for slug, (name, _, changes) in VARIANTS.items():
        own = results[slug]
        ne = [monn_runs.entropy(result) for result in own]
        figures = {"ne": summary(ne),
                   "change": change_percent(ne, first),
                   **{f"recall@{k}": summary([r["quality"][f"recall@{k}"] for r in own]) for k in (20, 100)},
                   **{f"overlap_{nodes}": summary([monn_runs.overlap_at(r, changes["tree"], nodes, SHARE) for r in own])
                      for nodes in ("scorer", "oracle")}}
        rows.append({"name": name, **{key: to_json(value) for key, value in figures.items()}})
        lines.append([name, text(figures["ne"]), text(figures["change"], "+.2f") + " %",
                      *(text(figures[key]) for key in ("recall@20", "recall@100")),
                      *(text(figures[key], ".3f") for key in ("overlap_scorer", "overlap_oracle"))])
    header = ["choice", "NE", "against the first", "Recall@20", "Recall@100",
              f"overlap@100 at {SHARE:.0%} of the pairs", "by the oracle"]
    note = (f"\nMean over {len(first)} seeds ± sample standard deviation; each row changes one setting of the first. "
            "NE, Recall: exhaustive search on the test events.\n")
    return Report(table(header, lines) + note, {"seeds": len(first), "rows": rows})


TABLE = Experiment("variants", "over-archs, node features, distillation, and the joint index's choices, one at a time",
                   monn_runs.check_log, configurations, run, report)
