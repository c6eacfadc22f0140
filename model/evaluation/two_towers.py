"""The two-tower row among the baselines: the run's settings with a dot product on top, trained on the same events."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from model.baselines.cache import Cache, data_hash
from model.baselines.table import Row
from model.config.train import TrainConfig
from model.data.load import Dataset
from model.data.recall_queries import RecallQueries
from model.evaluation.quality import quality
from model.training.trainer import train

NAME = "two towers"


def as_two_towers(config: TrainConfig) -> TrainConfig:
    """The settings of a run as those of two towers that are trained from nothing on its train events.

    A run that started from another has no epochs of its own to begin with, so it gets the default ones.
    """
    epochs = config.epochs if not config.start_from else max(config.epochs, TrainConfig().epochs)
    return replace(config, model=replace(config.model, over_arch="dot"), stack=(), epochs=epochs, start_from="",
                   pairs=None, teacher="", teacher_file="", holdout=0.0)


def two_towers(dataset: Dataset, config: TrainConfig, data: Path, users: int, cache: Cache | None = None) -> Row:
    """Trains two towers and measures them.

    Args:
        dataset: whose train events they learn and whose test events they are asked about.
        config: of the run that they are compared with.
        data: the folder that the log was read from.
        users: test users to ask for recall, 0 = all; drawn as for the run.
        cache: keeps the result.

    Returns:
        As the rows of `baseline_table`.

    Raises:
        ConfigError: the loss is not finite.
    """
    assert dataset.test is not None
    towers = as_two_towers(config)
    queries = RecallQueries.draw(dataset.train, dataset.test, len(dataset.user_ids), users, config.seed)
    key = hashlib.sha256((data_hash(dataset, dataset.train, dataset.test, queries.users)
                          + json.dumps(towers.to_json(), sort_keys=True)).encode()).hexdigest()
    known = cache.get(key, NAME) if cache is not None else None
    if known is not None:
        return known
    began = time.perf_counter()
    # The trainer reports epochs on standard output, whose last line belongs to the caller.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        run = train(data, dataset, towers, Path(folder) / "run", resume=False)
        found = quality(run, users)
    row = {name: value for name, value in found.items() if name.startswith(("recall@", "se_recall@")) or name == "ne"}
    row["seconds"] = round(time.perf_counter() - began, 1)
    if cache is not None:
        cache.put(key, NAME, row)
    return row
