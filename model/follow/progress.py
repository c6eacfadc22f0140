"""Progressive measures: how well the serving model predicts a window before it learns from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from index_store.value.calibration import Calibrations
from model.config.train import TrainConfig
from model.data.load import Dataset, joined, load_dataset
from model.evaluation.quality import quality
from model.examples.clicks import Clicks
from model.export.calibrate import ece, reliability
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.runs.warm_start import start_from
from model.training.normalized_entropy import impression_logits


def following(config: TrainConfig, run: Path) -> TrainConfig:
    """The settings of a run that continues another: its own, without what only its first training needed."""
    return replace(config, epochs=0, rounds=1, round_epochs=1, start_from=str(run.resolve()), pairs=None, teacher="",
                   teacher_file="", holdout=0.0)


def progressive(run: Path, log: Path, folder: Path, users: int) -> dict[str, Any]:
    """Measures a run on the test events of a newer log, as the service would answer before they were learned.

    Users, ads and values that the run does not know count as unknown; ads that ended are no longer returned.

    Args:
        run: to measure.
        log: data folder whose train events came before its test events.
        folder: to work in; it is removed at the end.
        users: most users to ask for recall; 0 = all.

    Returns:
        As `quality`: recall of the exhaustive search, and NE by task.
    """
    with as_served(run, log, folder) as measured:
        return quality(measured, users)


def calibration_errors(run: Path, log: Path, folder: Path, calibrations: Calibrations) -> dict[str, float]:
    """ECE of each task on the test events of a newer log, by the calibration that serves; arguments as above."""
    with as_served(run, log, folder) as measured:
        dataset = measured.dataset
        assert dataset.test is not None
        clicks = Clicks.of(joined(dataset.train, dataset.test), len(dataset.user_ids))
        logits = impression_logits(measured.reader, clicks, measured.key_index, dataset.test)
        p, labels = calibrations.probabilities(logits), dataset.test.labels
    return {task.name: ece(reliability(p[:, at], labels[:, at])) for at, task in enumerate(dataset.spec.tasks)}


@contextmanager
def as_served(run: Path, log: Path, folder: Path, dataset: Dataset | None = None) -> Iterator[Run]:
    """A run on a newer log, in eval mode, before it has learned anything from it; `dataset` if not all of the log."""
    shutil.rmtree(folder, ignore_errors=True)
    measured = Run(RunFolder(folder), dataset or load_dataset(log), following(RunFolder(run).config()[0], run))
    measured.folder.create(measured.config, log)
    start_from(measured, run)
    measured.model.eval()
    with measured.reader.using_nodes(measured.nodes() if measured.config.stack else None):
        yield measured
    shutil.rmtree(folder)
