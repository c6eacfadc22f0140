"""ExFM on a stream: a student that follows a moving world day by day, taught by teachers that are days old.

The teachers follow the stream too. A student is trained on the log before its first day, by labels that are all of the
same age, predicts that day, learns it, predicts the next, and so on. Its predictions are measured against the true
probabilities, which have no noise of draws.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.config.errors import ConfigError
from model.config.monn import SIZES
from model.config.train import TrainConfig
from model.data.load import Dataset, joined, load_dataset
from model.data.tables import EVENTS, TEST_EVENTS
from model.data.windows import day_folder
from model.examples.clicks import Clicks
from model.examples.folds import Fold
from model.examples.key_index import key_index
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report, fingerprint
from model.experiments.figures import change_percent, summary, table, text, to_json
from model.follow.cli import ATTRIBUTION_WINDOW
from model.follow.growing_log import GrownLog
from model.follow.labelling import labels_of
from model.follow.progress import following
from model.follow.world_windows import WorldWindows
from model.progress.bars import Bar
from model.runs.checkpoint import RunFolder, write_json
from model.runs.run import Run
from model.runs.warm_start import FINE_TUNING
from model.sources import parquet
from model.sources.day_truth import DayTruth
from model.sources.truth import TASKS, TrueWorld
from model.sources.world import sigmoid
from model.training.learned_log import Counted, LearnedLog
from model.training.normalized_entropy import impression_logits
from model.training.trainer import train

KIND = "exfm"
DELAYS = (0, 1, 2, 3)
"""Days that a teacher has missed when it labels the impressions of a day."""

MEASURED = 3
"""Days that each student predicts, the last ones of the world."""

LEAST_DAYS = MEASURED + max(DELAYS) + 2

WEIGHT = 3.0


@dataclass(frozen=True)
class Arm:
    """A student.

    Attributes:
        name: of its row.
        delay: of its teacher in days; None without one.
        head: that learns from it, see `TrainConfig.teacher_head`.
        epochs: more than the others have.
    """

    name: str
    delay: int | None = None
    head: Literal["auxiliary", "main"] = "auxiliary"
    epochs: int = 0

    @property
    def slug(self) -> str:
        """Name of its folder."""
        return self.name.replace(",", "").replace(" ", "-")


ALONE = Arm("no teacher")
HEADS: dict[Literal["auxiliary", "main"], str] = {"main": "main head", "auxiliary": "auxiliary head"}
ARMS = (ALONE, Arm("one more epoch", epochs=1),
        *(Arm(f"{name}, delay {k}", k, head) for k in DELAYS for head, name in HEADS.items()))


def check(data: Path) -> None:
    """Raises ConfigError or DataError if a folder is not a moving world of enough days, or one with domains."""
    monn_runs.check_log(data)
    if TrueWorld.open(data).domains is not None:
        raise ConfigError(f"{data} is a world with domains, but the table asks for the truth of a day without; write "
                          "one without --domains")
    days = days_of(data)
    if days < LEAST_DAYS:
        raise ConfigError(f"{data} has {days} days; the table needs a moving world of at least {LEAST_DAYS}: "
                          f"write one with `python -m model data synthetic --days {LEAST_DAYS}`")


def days_of(data: Path) -> int:
    """Days of a world after the log before it."""
    days = 0
    while day_folder(data, days + 1).is_dir():
        days += 1
    return days


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One cell a seed, for all students, which share their teachers."""
    days = days_of(data)
    world = {"days": days, "last": fingerprint(day_folder(data, days)), "delays": list(DELAYS), "measured": MEASURED}
    return [(KIND, "exfm", monn_runs.settings(data, small, tree="posthoc", teacher_weight=WEIGHT, world=world))]


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Plays the world: each day the teacher learns the log before it and labels it, and the students predict it."""
    days, stream = days_of(data), _Stream(cell, data, work)
    found = [stream.day(day, predict=day > days - MEASURED) for day in Bar(range(1, days + 1), desc="days", unit="day")]
    measured = [one for one in found if one is not None]
    return {"days": measured, "first_day": days - MEASURED + 1}


class _Stream:
    """The world, its teachers and students.

    Args:
        cell: settings and seed.
        data: folder of the world.
        work: folder of logs, runs and labels, each kept until it is no longer needed.
    """

    def __init__(self, cell: Cell, data: Path, work: Path) -> None:
        settings = {name: value for name, value in cell.settings.items() if name != "world"}
        self._student = monn_runs.config_of(replace(cell, settings=settings))
        large = settings | {"model": asdict(SIZES["large"]) | settings.get("model", {})}
        self._teacher = monn_runs.config_of(replace(cell, settings=large))
        self._data, self._work = data, work

    def day(self, day: int, *, predict: bool) -> dict[str, Any] | None:
        """Plays a day; returns what the students and the teachers predicted of it, None if it is not to be measured."""
        kept = self._work / f"day-{day:03d}.json"
        if not kept.exists():
            log = self._log(day)
            dataset = load_dataset(log)
            counted = self._counted(dataset)
            self._trained(self._teacher, "teacher", day, log, dataset, counted)
            truth = _truth(self._data, day, dataset)
            found = {"teachers": self._label(day, log, dataset, truth)}
            if predict:
                found["students"] = {arm.name: expected_ne(truth, self._predicted(arm, day, log, dataset, counted))
                                     for arm in ARMS}
            write_json(kept, found)
        told: dict[str, Any] = json.loads(kept.read_bytes())
        return told if predict else None

    def _log(self, day: int) -> Path:
        """The log before a day, with its impressions as test events."""
        folder, before = self._work / f"log-{day:03d}", self._work / f"log-{day - 1:03d}"
        if not (before / EVENTS).exists():
            parquet.write(self._data, before)
        if not (folder / EVENTS).exists():
            window = WorldWindows(self._data).next(day - 1, 0.0, before)
            assert window is not None
            grown = GrownLog.of(before, window.window, self._events(), ATTRIBUTION_WINDOW)
            grown.write(folder, grown.older, grown.new)
        return folder

    def _events(self) -> int:
        """Events that the log keeps, those of the world before its first day."""
        return sum(pq.read_metadata(self._data / name).num_rows for name in (EVENTS, TEST_EVENTS))

    def _counted(self, dataset: Dataset) -> Counted:
        """What all runs of a day count over its log."""
        log = LearnedLog.of(dataset, self._student)
        folds = list(Fold.all_of(dataset, log.events, log.fold))
        return Counted(folds, key_index(dataset, Clicks.of(dataset.train, len(dataset.user_ids))))

    def _trained(self, first: TrainConfig, name: str, day: int, log: Path, dataset: Dataset, counted: Counted,
                 **changes: Any) -> Run:
        """A run that has learned the log before a day, from its own of the day before if there is one."""
        folder, before = self._work / name / f"{day:03d}", self._work / name / f"{day - 1:03d}"
        config = first
        if before.exists():
            config = replace(following(first, before), round_epochs=first.rounds * first.round_epochs,
                             learning_rate=FINE_TUNING * first.learning_rate,
                             table_learning_rate=FINE_TUNING * first.table_learning_rate)
        trained = train(log, dataset, replace(config, **changes), folder, resume=RunFolder(folder).has_checkpoint,
                        counted=counted)
        trained.model.eval()
        return trained

    def _label(self, day: int, log: Path, dataset: Dataset, truth: NDArray[np.float64]) -> dict[str, Any]:
        """Writes the labels of a day by teachers of all ages; returns how good each is."""
        assert dataset.test is not None
        last, found = int(dataset.train.timestamps.max()), {}
        for delay in DELAYS:
            teacher = self._work / "teacher" / f"{day - delay:03d}"
            if not teacher.exists():
                continue
            labels = labels_of(teacher, log)
            labels = labels.filter(pc.greater(labels["timestamp"], last))
            if day > max(DELAYS):  # from where on all teachers are there, so that all label the same days
                path = self._labels(delay) / f"{day:03d}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(labels, path)
            found[str(delay)] = expected_ne(truth, np.stack([labels[task].to_numpy() for task in TASKS], axis=1))
        return found

    def _labels(self, delay: int) -> Path:
        return self._work / f"labels-{delay}"

    def _predicted(self, arm: Arm, day: int, log: Path, dataset: Dataset, counted: Counted) -> NDArray[np.float64]:
        """The probabilities (N, tasks) that a student predicts of the impressions of a day."""
        assert dataset.test is not None
        first = replace(self._student, rounds=self._student.rounds + arm.epochs)
        taught = {} if arm.delay is None else {"teacher_file": str(self._labels(arm.delay).resolve()),
                                               "teacher_head": arm.head}
        trained = self._trained(first, arm.slug, day, log, dataset, counted, **taught)
        clicks = Clicks.of(joined(dataset.train, dataset.test), len(dataset.user_ids))
        return sigmoid(impression_logits(trained.reader, clicks, counted.index, dataset.test).astype(np.float64))


def _truth(data: Path, day: int, dataset: Dataset) -> NDArray[np.float64]:
    """The true probabilities (N, tasks) of the impressions of a day."""
    assert dataset.test is not None
    users, ads = ((np.char.lstrip(np.char.decode(ids), "ua")).astype(np.int64)
                  for ids in (dataset.user_ids, dataset.encoder.item_ids))
    logits = DayTruth.open(data, day).world.pair_logits(users[dataset.test.users], ads[dataset.test.items])
    return sigmoid(logits.astype(np.float64))


def expected_ne(truth: NDArray[np.float64], predicted: NDArray[np.floating]) -> dict[str, float]:
    """NE of predictions (N, tasks) as expected over labels that are drawn by the true probabilities (N, tasks)."""
    p = np.clip(predicted.astype(np.float64), 1e-7, 1 - 1e-7)
    loss, rate = -(truth * np.log(p) + (1 - truth) * np.log1p(-p)).mean(axis=0), truth.mean(axis=0)
    found = loss / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    return dict(zip(TASKS, found.tolist(), strict=True))


def report(done: Sequence[Done]) -> Report:
    """NE of each student, its change against the one without a teacher, and what its teacher had."""
    results = [result for _, result in done]
    rows, lines = [], []
    alone = {task: _means(results, "students", ALONE.name, task) for task in TASKS}
    for arm in ARMS:
        own = {task: _means(results, "students", arm.name, task) for task in TASKS}
        of_teacher = {task: _means(results, "teachers", str(arm.delay), task) if arm.delay is not None else []
                      for task in TASKS}
        figures = {f"{what}_{task}": value for task in TASKS for what, value in (
            ("ne", summary(own[task])), ("change", change_percent(own[task], alone[task])),
            ("teacher", summary(of_teacher[task])))}
        rows.append({"name": arm.name, **{name: to_json(value) for name, value in figures.items()}})
        changes = ["" if arm is ALONE else text(figures[f"change_{task}"], "+.2f") + " %" for task in TASKS]
        lines.append([arm.name, *(part for task, change in zip(TASKS, changes, strict=True) for part in (
            text(figures[f"ne_{task}"]), change, text(figures[f"teacher_{task}"]) if arm.delay is not None else ""))])
    header = ["student", *(part for task in TASKS for part in (f"NE of {task}", "against no teacher", "its teacher"))]
    first, count = results[0]["first_day"], len(results[0]["days"])
    note = (f"\nMean over {len(results)} seed(s) ± sample standard deviation; of each seed the mean of days {first} to "
            f"{first + count - 1}, each predicted before it is learned. NE is that of the true probabilities in the "
            "place of labels. Delay: days that the teacher has missed when it labels a day.\n")
    days = [[[day["students"][arm.name][TASKS[0]] for arm in ARMS] for day in result["days"]] for result in results]
    return Report(table(header, lines) + note, {"seeds": len(results), "rows": rows, "by_day": days})


def _means(results: Sequence[Mapping[str, Any]], kind: str, name: str, task: str) -> list[float]:
    """Of each seed, the mean over days."""
    return [float(np.mean([day[kind][name][task] for day in result["days"]])) for result in results]


TABLE = Experiment("exfm", "students of teachers that are 0 to 3 days old, on a world that moves", check,
                   configurations, run, report)
"""For `python -m model data synthetic --days`."""
