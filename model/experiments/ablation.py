"""Ablation of MoNN: the same training without one of its inputs or its hard negatives, beside the whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from index_store.declaration.spec import ITEM_ID, FeatureSpec
from model.data.load import load_dataset
from model.data.tables import SPEC, read_spec
from model.evaluation.quality import quality
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import by_slug, change_percent, summary, table, text, to_json
from model.runs.checkpoint import RunFolder
from model.training.trainer import train

KIND = "ablation"
WHOLE, FIELDS = "whole", "no-fields"

EPOCHS = 2


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One row for the whole model, and one without each part that the log lets it have."""
    spec = read_spec(data)
    settings = {name: value for name, value in monn_runs.settings(data, small).items() if name != "branching"}
    common = {**settings, "epochs": EPOCHS, "rounds": 0}
    rows: dict[str, dict[str, Any]] = {WHOLE: {}, "no-spectral": {"ignored": ["spectral"]}}
    if neighbours := _neighbours(spec):
        rows |= {"no-neighbours": {"ignored": neighbours},
                 "no-neighbours-no-spectral": {"ignored": [*neighbours, "spectral"]}}
    if matches := [family.name for family in spec.key_families if family.name not in neighbours]:
        rows["no-matches"] = {"ignored": matches}
    ids = any(family.item_field == ITEM_ID for family in spec.key_families)
    if ids and (spec.user_fields or spec.item_fields):
        rows[FIELDS] = {}
    if spec.negatives == "sampled":
        rows["no-hard-negatives"] = {"hard_share": 0.0}
    return [(KIND, slug, {**common, **changes, **({"fields": False} if slug == FIELDS else {})})
            for slug, changes in rows.items()]


NAMES = {WHOLE: "MoNN", "no-spectral": "without spectral products",
         "no-neighbours": "without neighbour terms (co-clicks and similar users of the ad)",
         "no-neighbours-no-spectral": "without both", "no-matches": "without the other key families",
         FIELDS: "ids alone: no fields in towers or key families", "no-hard-negatives": "without hard negatives"}


def _neighbours(spec: FeatureSpec) -> list[str]:
    """Names of the families that say which ads other users clicked."""
    return [family.name for family in spec.key_families if family.item_field == ITEM_ID and family.via != "match"]


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains a cell without a tree and measures its quality."""
    settings = dict(cell.settings)
    log = data if settings.pop("fields", True) else _without_fields(data, work / "log")
    config = replace(monn_runs.config_of(replace(cell, settings=settings)), branching=())
    trained = train(log, load_dataset(log), config, work / "run", resume=RunFolder(work / "run").has_checkpoint)
    return {"quality": quality(trained, settings.get("test_users", monn_runs.TEST_USERS))}


def _without_fields(data: Path, folder: Path) -> Path:
    """A log of the same tables whose declaration knows ids alone."""
    declared = json.loads((data / SPEC).read_bytes())
    families = [family for family in declared["key_families"] if family["item_field"] == ITEM_ID]
    folder.mkdir(parents=True, exist_ok=True)
    for path in data.iterdir():
        if path.name.endswith(".parquet") and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    kept = declared | {"user_fields": [], "item_fields": [], "key_families": families}
    (folder / SPEC).write_text(json.dumps(kept))
    return folder


def report(done: Sequence[Done]) -> Report:
    """NE and recall of each row, and what it loses against the whole."""
    results, rows, lines = by_slug(done), [], []
    first = [result["quality"]["recall@20"] for result in results[WHOLE]]
    for slug, own in results.items():
        figures = {"ne": summary([monn_runs.entropy(result) for result in own]),
                   "change": change_percent([result["quality"]["recall@20"] for result in own], first),
                   **{f"recall@{k}": summary([r["quality"][f"recall@{k}"] for r in own]) for k in (20, 100)}}
        rows.append({"name": NAMES[slug], **{key: to_json(value) for key, value in figures.items()}})
        lines.append([NAMES[slug], text(figures["ne"]), text(figures["recall@20"]), text(figures["recall@100"]),
                      "" if slug == WHOLE else text(figures["change"], "+.1f") + " %"])
    header = ["model", "NE", "Recall@20", "Recall@100", "Recall@20 against the whole"]
    note = (f"\nMean over {len(first)} seed(s) ± sample standard deviation, {EPOCHS} epochs without a tree each; "
            "exhaustive search on the test events. Negatives are drawn in the same way in all rows but the last.\n")
    return Report(table(header, lines) + note, {"seeds": len(first), "rows": rows})


TABLE = Experiment("ablation", "MoNN without spectral products, neighbour terms, fields or hard negatives",
                   monn_runs.check_log, configurations, run, report)
