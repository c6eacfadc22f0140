"""Cells that train a run with its tree, export it and ask it through its beam: table 1 and `sizes` share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.config.monn import MoNNConfig
from model.config.train import TrainConfig
from model.data.load import Dataset
from model.data.recall_queries import RecallQueries
from model.evaluation.quality import quality
from model.evaluation.served_quality import served_quality
from model.experiments import monn_runs
from model.experiments.figures import Summary, change_percent, summary
from model.export.seal import export
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.training.trainer import train
from model.tree.k_means import default_branching

Models = tuple[MoNNConfig, MoNNConfig | None]
"""The model of the ads and, in a stack, that of the nodes of the finest level above them."""


def settings(data: Path, small: bool, rows: Mapping[str, Models]) -> dict[str, dict[str, Any]]:
    """Settings of each row, by its slug: the default training with the default tree."""
    common = monn_runs.settings(data, small)
    tiny = common.pop("model", {})
    if not small:
        common["branching"] = list(default_branching(monn_runs.number_of_ads(data)))
    finest = len(common["branching"])

    def shape(model: MoNNConfig) -> dict[str, Any]:
        return {**asdict(model), **tiny}

    return {slug: {**common, "model": shape(model),
                   "stack": [{"level": finest, "model": shape(above)}] if above is not None else []}
            for slug, (model, above) in rows.items()}


def run(data: Path, dataset: Dataset, config: TrainConfig, work: Path, users: int,
        beam_users: int | None = None) -> tuple[Run, dict[str, Any]]:
    """Trains a run or continues one, exports it, and measures both.

    Args:
        data: data folder.
        dataset: its log, with test events.
        config: of the run.
        work: folder of the run; the bundle goes into it.
        users: test users to measure recall with.
        beam_users: those to ask through the beam; None for the same.

    Returns:
        The run, and its `quality` and `served_quality` as `quality` and `served`.
    """
    trained = train(data, dataset, config, work, resume=RunFolder(work).has_checkpoint)
    found = quality(trained, users)
    if not (work / "bundle").exists():
        export(trained, work / "bundle", {})
    assert dataset.test is not None
    queries = RecallQueries.draw(trained.dataset.train, dataset.test, len(dataset.user_ids),
                                 users if beam_users is None else beam_users, config.seed)
    return trained, {"quality": found, "served": served_quality(work / "bundle", queries)}


def figures(own: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> dict[str, Summary | None]:
    """Quality and cost of a row, seed by seed, with the change of its NE against that of another one."""
    ne = [monn_runs.entropy(result) for result in own]
    changes = change_percent(ne, [monn_runs.entropy(result) for result in base])
    beams, exact = ([result["served"][how] for result in own] for how in ("beam", "exhaustive"))
    return {"ne": summary(ne), "ne_change": changes,
            **{f"recall@{k}": summary([result["quality"][f"recall@{k}"] for result in own]) for k in (20, 100)},
            **{f"beam_recall@{k}": summary([beam[f"recall@{k}"] for beam in beams]) for k in (20, 100)},
            "overlap": summary([beam["overlap@100"] for beam in beams]),
            "cost": mega(exact), "ms": summary([whole["ms"] for whole in exact]),
            "beam_cost": mega(beams),
            "beam_ms": summary([beam["ms"] for beam in beams])}


def mega(measured: Sequence[Mapping[str, Any]]) -> Summary | None:
    """Arithmetic in MFLOP."""
    return summary([one["flops"] / 1e6 if one["flops"] is not None else None for one in measured])
