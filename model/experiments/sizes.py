"""The size curve: what MoNN of four sizes and a stack reach through the beam, and at what cost.

The settings of each row are chosen on a hold-out of train by trials like those of `train`, but a fixed number of them.
A trial has no tree, which a stack needs, so a stack goes by the trials of its layer of the ads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.choice.alternatives import Alternative, chosen_of, with_epochs
from model.choice.held_out import HeldOut
from model.choice.measure import Measure, measure_of
from model.choice.trial import Trial, Trials
from model.config.errors import ConfigError
from model.config.monn import SIZES, MoNNConfig
from model.config.train import TrainConfig
from model.data.load import Dataset, load_dataset
from model.experiments import monn_runs, served_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import by_slug, change_percent, summary, table, text, to_json
from model.runs.checkpoint import finite, write_json

KIND = "size"
TRIALS: tuple[dict[str, Any], ...] = ({"epochs": 2}, {"epochs": 1}, {"dropout": 0.2})
"""Settings of one trial after the other, each with what was best before it, by more than its standard error."""

BEAM_USERS = 20_000
"""Test users who are asked through the beam at most. An exhaustive search of so many would take hours."""

TINY = MoNNConfig(table_width=16, user_hidden=(64,), item_hidden=(64,), pair_hidden=(16,), user_tokens=2,
                  item_tokens=2, over_hidden=32)
"""A pair costs it half of what it costs Small."""

ROWS: dict[str, tuple[str, MoNNConfig, MoNNConfig | None]] = {
    "small": ("Small", SIZES["small"], None),
    "large": ("Large", SIZES["large"], None),
    "stack-large-small": ("Large over Small", SIZES["small"], SIZES["large"]),
    "tiny": ("Tiny", TINY, None),
    "medium": ("Medium", SIZES["medium"], None),
}
"""Slug -> name, model of the ads, model of the nodes; in the order in which they are run."""


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One row a model, with the default tree and training of `train` but for what the trials choose."""
    rows = {slug: (model, above) for slug, (_, model, above) in ROWS.items()}
    return [(KIND, slug, {**settings, "trials": list(TRIALS), "beam_users": BEAM_USERS})
            for slug, settings in served_runs.settings(data, small, rows).items()]


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Chooses settings, then trains a run on all of train or continues one, exports it, and measures both."""
    settings, dataset = dict(cell.settings), load_dataset(data)
    trials, beam_users = settings.pop("trials"), settings.pop("beam_users")
    config = monn_runs.config_of(replace(cell, settings=settings))
    kept = work / "trials.json"
    if not kept.exists():
        write_json(kept, tuned(data, dataset, config, trials))
    record = json.loads(kept.read_bytes())
    trained, found = served_runs.run(data, dataset, with_settings(config, record["chosen"]), work,
                                     settings.get("test_users", monn_runs.TEST_USERS), beam_users)
    return {**found, **record, "parameters": sum(each.numel() for each in trained.model.parameters())}


def tuned(data: Path, dataset: Dataset, config: TrainConfig, settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Trials on a hold-out of the train events; the test events are not read.

    Args:
        data: data folder.
        dataset: its log.
        config: of the run.
        settings: of each trial; TRIALS.

    Returns:
        `trials`: what each reached, with its gain over the best one before it; `chosen`: `epochs` and `dropout`.

    Raises:
        ConfigError: the held-out events define no figure.
    """
    held = HeldOut.of(dataset, config.seed)
    measure = measure_of(held, config)
    if measure is None:
        raise ConfigError(f"a hold-out of the {len(dataset.train):,} train events of {data} defines neither recall nor "
                          "entropy, so no settings can be chosen; bring a longer log")
    trials = Trials(data, held, measure)
    return choice(replace(config, stack=()), settings, measure, lambda own: trials.run(own, lambda pace, left: None))


def choice(config: TrainConfig, settings: Sequence[Mapping[str, Any]], measure: Measure,
           run_trial: Callable[[TrainConfig], Trial]) -> dict[str, Any]:
    """Runs one trial after the other, as `tuned` says and returns.

    Args:
        config: without a stack, of the first trial but for its settings.
        settings: of each trial.
        measure: of what they reach.
        run_trial: trains and measures settings.
    """
    best: Trial | None = None
    record: list[dict[str, Any]] = []
    for own in settings:
        trial = run_trial(with_settings(best.config if best is not None else config, own))
        value, error = measure.mean(trial.reached)
        entry = {**_settings_of(trial.config), "measure": measure.name, "value": value, "standard_error": error,
                 **trial.reached.row}
        if best is not None:
            gain, error_of_gain = measure.gain(trial.reached, best.reached)
            entry |= {"gain": gain, "standard_error_of_gain": error_of_gain}
        if best is None or gain > error_of_gain:
            best = trial
        record.append(entry)
    assert best is not None
    found: dict[str, Any] = finite({"trials": record, "chosen": _settings_of(best.config)})
    return found


def _settings_of(config: TrainConfig) -> dict[str, Any]:
    """Those that trials choose."""
    return {name: value for name, value in chosen_of(config).items() if name in ("epochs", "dropout")}


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """The settings with another number of epochs or another dropout; the layer above of a stack keeps its own."""
    others = {name: value for name, value in settings.items() if name != "epochs"}
    return with_epochs(Alternative(others).of(config), settings.get("epochs", config.all_epochs))


def report(done: Sequence[Done]) -> Report:
    """Quality and cost of each row beside Small's, from the cheapest beam to the dearest."""
    results = by_slug(done)
    rows = {slug: _row(own, results["small"]) for slug, own in results.items()}
    rows = dict(sorted(rows.items(), key=lambda row: row[1]["beam_cost"].mean if row[1]["beam_cost"] else 0.0))
    lines = [[ROWS[slug][0], text(row["ne"]), text(row["ne_change"], "+.2f") + " %",
              *(text(row[key]) for key in ("recall@20", "recall@100", "beam_recall@20", "beam_recall@100")),
              text(row["recall_change"], "+.1f") + " %", text(row["overlap"], ".3f"), text(row["pairs"], ".0f"),
              text(row["cost"], ".1f"), text(row["beam_cost"], ".2f"), text(row["parameters"], ",.0f"),
              _chosen_text(results[slug])] for slug, row in rows.items()]
    header = ["model", "NE", "against Small", "Recall@20", "@100", "through the beam @20", "@100", "their mean against "
              "Small", "overlap@100", "pairs", "cost, MFLOP a query", "through the beam", "parameters", "chosen"]
    seeds = len(results["small"])
    note = (f"\nMean over {seeds} seed(s) ± sample standard deviation. Epochs and dropout of each row are chosen on a "
            "hold-out of train, those of a stack by its layer of the ads. The beam is asked by up to "
            f"{BEAM_USERS:,} test users, who include those of the exhaustive search. Cost: pairs scored times the "
            "arithmetic of the graph that scores them, all levels together.\n")
    data = [{"slug": slug, "name": ROWS[slug][0], "chosen": [result["chosen"] for result in results[slug]],
             **{key: to_json(value) for key, value in row.items()}} for slug, row in rows.items()]
    return Report(table(header, lines) + note, {"seeds": seeds, "rows": data}, lambda path: _draw(rows, path))


def _row(own: Sequence[Mapping[str, Any]], small: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    beams = [result["served"]["beam"] for result in own]
    return {**served_runs.figures(own, small),
            "recall_change": change_percent([_mean_recall(result) for result in own],
                                            [_mean_recall(result) for result in small]),
            "pairs": summary([sum(beam["pairs"]) if beam["pairs"] is not None else None for beam in beams]),
            "parameters": summary([result["parameters"] for result in own])}


def _mean_recall(result: Mapping[str, Any]) -> float | None:
    """Mean of Recall@20 and Recall@100 through the beam."""
    recalls = [result["served"]["beam"][f"recall@{k}"] for k in (20, 100)]
    return float(np.mean(recalls)) if None not in recalls else None


def _chosen_text(own: Sequence[Mapping[str, Any]]) -> str:
    """The chosen settings of each seed, those that are the same once."""
    texts = [f"{result['chosen']['epochs']} epochs, dropout {result['chosen']['dropout']:g}" for result in own]
    return "; ".join(dict.fromkeys(texts))


def _draw(rows: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    panels = {"beam_recall@20": "Recall@20 through the beam", "beam_recall@100": "Recall@100 through the beam",
              "ne": "NE"}
    for axis, (key, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        shown = {slug: (row["beam_cost"].mean, row[key].mean) for slug, row in rows.items()
                 if row["beam_cost"] is not None and row[key] is not None}
        alone = [at for slug, at in shown.items() if ROWS[slug][2] is None]
        axis.plot(*np.reshape(alone, (-1, 2)).T, "o-")
        for slug, at in shown.items():
            stack = ROWS[slug][2] is not None
            if stack:
                axis.plot(*at, "s", color="C1")
            axis.annotate(ROWS[slug][0], at, textcoords="offset points", xytext=(0, -14 if stack else 7), fontsize=8,
                          ha="center")
        axis.set(title=title, xscale="log", xlabel="MFLOP a query through the beam")
        axis.margins(0.18)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


TABLE = Experiment("sizes", "MoNN of four sizes and a stack, each tuned on a hold-out: the curve of quality and cost",
                   monn_runs.check_log, configurations, run, report)
