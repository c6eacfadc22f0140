"""Test-time training of MoNN: node pairs against two controls, from the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from model.config.pairs import PairsConfig
from model.config.train import TrainConfig
from model.data.load import load_dataset
from model.evaluation.quality import quality
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import change_percent, summary, table, text, to_json
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.runs.warm_start import continued
from model.training.trainer import Trainer, new_trainer

KIND = "monn-test-time"
PHI, SMALL_PHI = (0.2, 0.1), (0.05, 0.05)
"""A leaf node holds about 12 ads, of which three have to be clicked. The paper's 0.8 and 0.4 suit nodes of five."""

ARMS: dict[str, Literal["", "real", "random"]] = {"pairs": "", "real": "real", "random": "random"}
NAMES = {"before": "before", "pairs": "with the pairs", "real": "control: real pairs alone",
         "random": "control: random nodes"}
FIGURES = ("ne", "recall@20", "recall@100")


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One cell a seed, for a run together with its three continuations."""
    phi = SMALL_PHI if small else PHI
    return [(KIND, "monn-em-test-time", monn_runs.settings(data, small, tree="em") | {"phi": list(phi)})]


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains a run, then continues from it three times for one epoch.

    Returns:
        `quality` of the run `before` and of each arm, and how many pairs each level has (`found`).
    """
    phi = tuple(cell.settings["phi"])
    base = replace(cell, settings={name: value for name, value in cell.settings.items() if name != "phi"})
    users = cell.settings.get("test_users", monn_runs.TEST_USERS)
    arms = {arm: PairsConfig(phi, control=control) for arm, control in ARMS.items()}
    measured, found = measured_arms(base, data, work, arms, lambda run: quality(run, users))
    return {**measured, "found": found["pairs"]}


def measured_arms(cell: Cell, data: Path, work: Path, arms: Mapping[str, PairsConfig],
                  measure: Callable[[Run], Any]) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """Trains a run, then continues from its weights for one epoch by each arm.

    Args:
        cell: settings and seed of the run.
        data: data folder.
        work: folder of the runs, `before` and one for each arm.
        arms: node pairs of each arm, or their control.
        measure: of a trained run.

    Returns:
        The measures of the run `before` and of each arm; and for each arm how many pairs each level has, nothing for
        one that learns the log alone.
    """
    before = work / "before"
    trainer = _trained(data, monn_runs.config_of(cell), before)
    config, measured, found = trainer.config, {"before": measure(trainer.run)}, {}
    for place, (arm, pairs) in enumerate(arms.items()):
        asked = replace(config, epochs=0, rounds=1, start_from=str(before), pairs=pairs)
        trainer = _trained(data, continued(asked, before), work / f"arm-{place}")
        measured[arm] = measure(trainer.run)
        found[arm] = {f"level {level.level}": len(level) for level in trainer.pairs.pairs} if trainer.pairs else {}
    return measured, found


def _trained(data: Path, config: TrainConfig, out: Path) -> Trainer:
    resume = RunFolder(out).has_checkpoint
    trainer = new_trainer(data, load_dataset(data), RunFolder(out).config()[0] if resume else config, out,
                          resume=resume)
    trainer.fit()
    return trainer


def report(done: Sequence[Done]) -> Report:
    """Quality of each arm, and the gain of node pairs over each of the others, seed by seed."""
    results = [result for _, result in done]
    values = {arm: {figure: [_figure(result[arm], figure) for result in results] for figure in FIGURES}
              for arm in NAMES}
    rows, lines = [], []
    for arm, name in NAMES.items():
        gains = {figure: change_percent(values["pairs"][figure], values[arm][figure])
                 for figure in FIGURES if arm != "pairs"}
        rows.append({"name": name, **{figure: to_json(summary(values[arm][figure])) for figure in FIGURES},
                     "pairs_change_percent": {figure: to_json(gain) for figure, gain in gains.items()}})
        lines.append([name, *(text(summary(values[arm][figure])) for figure in FIGURES),
                      *(text(gains[figure], "+.2f") + " %" if figure in gains else "" for figure in FIGURES)])
    found = "; ".join(", ".join(f"{n:,} at {level}" for level, n in result["found"].items()) for result in results)
    header = ["after one epoch more", "NE", "Recall@20", "Recall@100",
              *(f"change by node pairs: {figure}" for figure in ("NE", "Recall@20", "Recall@100"))]
    note = (f"\nMean over {len(results)} seed(s) ± sample standard deviation; changes are means over arms of the same "
            f"seed. Pairs found, seed by seed: {found}.\n")
    return Report(table(header, lines) + note, {"seeds": len(results), "rows": rows,
                                                "found": [result["found"] for result in results]})


def _figure(measured: Mapping[str, Any], name: str) -> float | None:
    value: float | None = monn_runs.entropy({"quality": measured}) if name == "ne" else measured[name]
    return value


TABLE = Experiment("test-time", "test-time training of MoNN against its two controls", monn_runs.check_log,
                   configurations, run, report)
