"""`choose`: what a run needs to know and nobody should have to tune, from a hold-out of the log within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.baselines.budget import Budget, SkippedError
from model.baselines.report import table_text
from model.baselines.table import Row, baseline_table
from model.choice.alternatives import chosen_of
from model.choice.forecast import Forecast
from model.choice.held_out import HeldOut
from model.choice.measure import WeightedEntropy, measure_of
from model.choice.search import Search
from model.choice.trial import Trial, Trials
from model.config.train import TrainConfig
from model.data.hold_out import hold_out
from model.data.load import Dataset
from model.evaluation.epoch_figures import EpochFigures
from model.evaluation.two_towers import NAME, as_two_towers
from model.examples.negatives import NegativeSampler
from model.objective.distill import open_teacher
from model.progress.lines import tell
from model.runs.checkpoint import RunFolder, finite, write_json
from model.runs.run import Run
from model.training.trainer import train

FILE = "choice.json"

MINUTES_FOR_A_MILLION, LEAST_MINUTES = 20.0, 3.0
"""The default budget, for a million train events and at least. It grows with the cube root of their number: a small
log takes more epochs and has more to choose.
"""

BASELINES = 4
"""The baselines get one part in so many of the budget."""


@dataclass(frozen=True)
class Choice:
    """Chosen settings.

    Attributes:
        config: to train with.
        record: what was tried, chosen and why, and the baselines, as `choice.json` holds it.
        trial: of these settings, or of fewer epochs if the time allowed no other; None without any.
    """

    config: TrainConfig
    record: dict[str, Any]
    trial: Trial | None

    def tell_of_baselines(self) -> None:
        """Prints the table of baselines beside the trial, with a line for each that beats it."""
        if not self.record["baselines"]:
            return
        if self.trial is None:
            tell("the baselines on the hold-out; the time allowed no trial to compare with them, `python -m model "
                  "evaluate` compares the run:")
        else:
            tell(f"the trial of {self.trial.config.all_epochs} epochs beside the baselines, on the hold-out:")
        tell(table_text(self.trial.reached.row if self.trial is not None else {}, self.record["baselines"]))


def default_minutes(events: int) -> float:
    """The budget for a log of so many train events."""
    return max(LEAST_MINUTES, MINUTES_FOR_A_MILLION * math.cbrt(events / 1e6))


def choose_and_train(data: Path, dataset: Dataset, config: TrainConfig, out: Path, fixed: frozenset[str],
                     budget: Budget, fit: Callable[..., Run] = train) -> Run:
    """Chooses settings, trains a run with them on all train events, and prints it beside the baselines.

    Args:
        data: folder of the log.
        dataset: the log.
        config: the settings so far.
        out: folder of the run; `choice.json` is written there too.
        fixed: names of settings that are not to be chosen.
        budget: of it all.
        fit: trains the run; trials are trained here.

    Raises:
        ConfigError: the settings do not fit the log, the teacher cannot be used, or the loss is not finite.
        DataError: the file of a teacher does not hold soft labels of this log.
    """
    _check(data, dataset, config, out)
    choice = choose(data, dataset, config, fixed, budget)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / FILE, choice.record)
    run = fit(data, dataset, choice.config, out, resume=False, held_out=EpochFigures)
    write_json(out / FILE, choice.record | {"seconds": {**choice.record["seconds"], "all": budget.spent}})
    choice.tell_of_baselines()
    return run


def _check(data: Path, dataset: Dataset, config: TrainConfig, out: Path) -> None:
    """Raises what the final training would raise, before all the work; arguments and errors as above."""
    run = Run(RunFolder(out), dataset, config)
    every_item = NegativeSampler(np.ones(len(dataset.items), np.int64), config.uniform_share)
    open_teacher(config, data.resolve(), run.reader, every_item, run.dataset.train)


def choose(data: Path, dataset: Dataset, config: TrainConfig, fixed: frozenset[str], budget: Budget) -> Choice:
    """Chooses settings and fits the baselines on a hold-out of the train events; test events are not read.

    Args:
        data: folder of the log.
        dataset: the log.
        config: the settings so far.
        fixed: names of those that are not to be chosen.
        budget: of the choice and the training that follows it.
    """
    dataset = hold_out(dataset, config.holdout, config.seed)
    held = HeldOut.of(dataset, config.seed)
    record: dict[str, Any] = {
        "minutes": budget.seconds / 60, "fixed": sorted(fixed),
        "hold_out": {"share": held.share, "events": held.kind, "train": len(held.train), "asked": len(held.asked)}}
    tell(f"choosing settings within {budget.seconds / 60:.3g} minutes, on {held.share:.0%} of the train events: "
          f"{held.kind}")
    measure = measure_of(held, config)
    if measure is None:
        tell("the held-out events leave nothing to measure, so nothing is chosen")
        return Choice(config, record | {"measure": None, "trials": [], "chosen": {}, "learned": None, "baselines": {},
                                        "seconds": {"choice": budget.spent}}, None)
    of_baselines = Budget(budget.seconds / BASELINES)
    table = baseline_table(held.train, held.asked, held.dataset, users=measure.asked, seed=held.seed,
                           seconds=of_baselines.left)
    for_towers = of_baselines.left
    search = Search(held.dataset, Trials(data, held, measure), measure, budget,
                    Forecast(len(dataset.train) / len(held.train), len(dataset.items)), config, fixed)
    search.run()
    if isinstance(measure, WeightedEntropy):
        search.settle(measure.constant())
    table[NAME] = _two_towers(search, Budget(for_towers))
    _tell_of_choice(search, budget)
    values = chosen_of(search.config)
    record |= {
        "measure": {"name": measure.name, "better": "higher" if measure.sign > 0 else "lower"}, "trials": search.record,
        "chosen": {name: {"value": values[name], "why": "; ".join(why)} for name, why in search.reasons.items()},
        "learned": search.learned, "baselines": table, "seconds": {"choice": budget.spent}}
    return Choice(search.config, finite(record), search.best)


def _two_towers(search: Search, budget: Budget) -> Row:
    """Two towers with the chosen settings, trained and measured like the trials."""
    if search.config.model.over_arch == "dot":
        return {"skipped": "they are the run that is trained"}
    try:
        trial = search.beside(as_two_towers(search.config), budget)
    except SkippedError as reason:
        return {"skipped": str(reason)}
    return {**trial.reached.row, "seconds": round(trial.seconds, 1)}


def _tell_of_choice(search: Search, budget: Budget) -> None:
    values = chosen_of(search.config)
    for name, why in search.reasons.items():
        tell(f"chosen: {name} {values[name]}, {'; '.join(why)}")
    if search.learned is False:
        tell("nothing was learned: no trial beats a constant by more than its standard error, so expect the model to "
              "predict little more than the rate of the labels")
    over = search.seconds_over()
    if over and values["epochs"] == 1:
        tell(f"the budget of {budget.seconds / 60:.3g} minutes does not reach one epoch; one is trained all the same")
    elif over:
        tell(f"the training is expected to pass the budget by about {over:,.0f} s")
