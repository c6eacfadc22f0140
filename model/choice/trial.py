"""Trials: settings that are trained without a tree on what a hold-out leaves, and measured on the rest."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from index_store.features.postings import KeyIndex
from model.choice.held_out import HeldOut
from model.choice.measure import Measure, Reached
from model.config.train import TrainConfig
from model.evaluation.epoch_figures import EpochFigures
from model.examples.folds import Fold
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.training.trainer import Trainer

UNTIMED, CHECK_EVERY = 3, 10
"""Batches that are not timed, since the first ones are slower, and batches between two checks."""


Epochs = list[Mapping[str, float | None]]


class OutOfTimeError(Exception):
    """A trial was given up."""


@dataclass(frozen=True)
class Pace:
    """How fast a trial goes.

    Attributes:
        batches: of an epoch.
        batch_seconds: of a batch, on average.
    """

    batches: int
    batch_seconds: float


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        config: of the run that they would train.
        reached: on the hold-out.
        seconds: that the trial took, without what is done once for all trials.
        pace: of its training.
        epochs: `EpochFigures` after each.
    """

    config: TrainConfig
    reached: Reached
    seconds: float
    pace: Pace
    epochs: Epochs


class Trials:
    """Trains and measures settings on one hold-out. Folds and key index depend on the events alone: counted once.

    Args:
        data: folder of the log.
        held: the hold-out.
        measure: on it.

    Attributes:
        preparing: seconds that folds and key index took.
    """

    def __init__(self, data: Path, held: HeldOut, measure: Measure) -> None:
        self._data, self._held, self._measure = data, held, measure
        self._epoch_figures = EpochFigures(held.dataset, held.seed)
        self._folds: Sequence[Fold] | None = None
        self._index: KeyIndex | None = None
        self.preparing = 0.0

    def run(self, config: TrainConfig, check: Callable[[Pace, float], None]) -> Trial:
        """Tries settings.

        Args:
            config: of a run without a stack; its epochs are trained without a tree or a teacher.
            check: called now and then with the pace and the seconds of training that are left; it may raise
                OutOfTimeError.

        Raises:
            ConfigError: the loss is not finite.
            OutOfTimeError: by `check`.
        """
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            run = Run(RunFolder(Path(folder)), self._held.dataset, without_tree(config))
            run.folder.create(run.config, self._data)
            before, trainer = self.preparing, self._trainer(run)
            pace, epochs = self._timed(trainer, check)
            run.model.eval()
            reached = self._measure.of(run)
        return Trial(config, reached, time.monotonic() - began - (self.preparing - before), pace, epochs)

    def _trainer(self, run: Run) -> Trainer:
        if self._index is not None:
            run.key_index = self._index
            return Trainer(run, self._folds)
        began = time.monotonic()
        trainer = Trainer(run)
        self._folds, self._index, self.preparing = trainer.folds, run.key_index, time.monotonic() - began
        return trainer

    def _timed(self, trainer: Trainer, check: Callable[[Pace, float], None]) -> tuple[Pace, Epochs]:
        """Trains to the end; returns the pace, and what is reached after each epoch."""
        batches, total = trainer.schedule.batches, trainer.schedule.batches * trainer.schedule.epochs
        untimed = min(UNTIMED, total - 1)
        began, done = time.monotonic(), 0
        epochs: Epochs = []

        def pace() -> Pace:
            return Pace(batches, (time.monotonic() - began) / max(1, done - untimed))

        def after_batch() -> None:
            nonlocal began, done
            done += 1
            if done <= untimed:
                began = time.monotonic()
            elif (done - untimed) % CHECK_EVERY == 0:
                so_far = pace()
                check(so_far, (total - done) * so_far.batch_seconds)

        def after_epoch(run: Run) -> Mapping[str, float | None]:
            nonlocal began
            since = time.monotonic()
            epochs.append(self._epoch_figures(run))
            began += time.monotonic() - since  # no part of the pace
            return epochs[-1]

        trainer.after_batch, trainer.held_out = after_batch, after_epoch
        trainer.say = lambda line: None  # `Search` tells of a trial as a whole
        trainer.fit()
        return pace(), epochs


def without_tree(config: TrainConfig) -> TrainConfig:
    """The settings of a run as those of a trial: as many epochs, no tree, and no teacher, who saw what is held out."""
    return replace(config, tree="em", epochs=config.all_epochs, rounds=0, round_epochs=1, teacher="", teacher_file="",
                   holdout=0.0)
