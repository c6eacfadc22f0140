"""Training of a run by several workers on Ray Train: gloo between CPUs, NCCL between GPUs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from index_store.features.postings import KeyIndex
from model.cluster.connection import connect
from model.cluster.ranges import RayRanges
from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.hold_out import hold_out
from model.data.load import Dataset, load_dataset
from model.data.tables import DataError
from model.examples.clicks import Clicks
from model.examples.folds import FOLDS, Fold
from model.examples.key_index import key_index
from model.progress.bars import Bar
from model.runs.run import Run
from model.runs.workers import Workers
from model.training.learned_log import Counted, LearnedLog
from model.training.trainer import HeldOutFigures, train

TIMEOUT_SECONDS = 24 * 3600
"""For which workers wait for each other: while the first learns a tree, the others do nothing."""


@dataclass(frozen=True)
class Task:
    """What is to be trained, as `trainer.train` takes it."""

    data: Path
    config: TrainConfig
    out: Path
    resume: bool
    held_out: Callable[[Dataset, int], HeldOutFigures] | None


class RayTraining:
    """Trains runs by workers on Ray; to be called like `trainer.train`.

    Args:
        workers: at least 2.
        oversubscribe: whether there may be more of them than cores.

    Raises:
        ConfigError: Ray cannot be used.
    """

    def __init__(self, workers: int, oversubscribe: bool) -> None:
        self._workers, self._cores = workers, connect(workers, oversubscribe)

    def __call__(self, data: Path, dataset: Dataset, config: TrainConfig, out: Path, *, resume: bool,
                 held_out: Callable[[Dataset, int], HeldOutFigures] | None = None) -> Run:
        """Trains a run to the end; arguments as those of `trainer.train`.

        Raises:
            ConfigError, DataError: as by one worker, or the settings are for one worker alone.
        """
        import ray
        from ray.train import LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.train.v2.api.exceptions import WorkerGroupError

        check_settings(config)
        task = Task(data.resolve(), config, out.resolve(), resume, held_out)
        gpus = int(ray.cluster_resources().get("GPU", 0)) >= self._workers
        with tempfile.TemporaryDirectory() as folder:
            trainer = TorchTrainer(
                work, train_loop_config={"task": task, "counted": _counted(task)},
                torch_config=TorchConfig("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout_s=TIMEOUT_SECONDS),
                scaling_config=ScalingConfig(num_workers=self._workers, use_gpu=gpus,
                                             resources_per_worker={"CPU": self._cores}),
                run_config=RunConfig(name="training", storage_path=folder, logging_config=LoggingConfig("ERROR")))
            try:
                trainer.fit()
            except WorkerGroupError as error:
                raise _cause(error, error.worker_failures) from error
        return Run.open(out)


def check_settings(config: TrainConfig) -> None:
    """Raises ConfigError for what learns from whole batches."""
    alone = {"--tree joint": config.tree == "joint", "a teacher": config.distilled,
             "test-time training (--phi, --beams)": config.pairs is not None}
    for what, asked in alone.items():
        if asked:
            raise ConfigError(f"{what} learns from whole batches, so several workers cannot share them; leave out "
                              "--workers, or that")


def work(given: dict[str, Any]) -> None:
    """What every worker does; Ray runs it in a process of its own.

    Args:
        given: the `task`, and references to what is `counted`: the folds, then the key index.
    """
    import ray

    workers, task = Workers.of_group(RayRanges(dist.get_world_size(), cores=0)), given["task"]
    Bar.shown = workers.first
    *folds, index = ray.get(given["counted"])
    train(task.data, load_dataset(task.data), task.config, task.out, resume=task.resume, held_out=task.held_out,
          workers=workers, counted=Counted(folds, index))


def _counted(task: Task) -> list[Any]:
    """References to the folds and the key index, each counted by a task and shared by a machine's workers."""
    import ray

    count = ray.remote(count_part)
    return [count.remote(task, part) for part in (*range(FOLDS), None)]


def count_part(task: Task, fold: int | None) -> Fold | KeyIndex:
    """One of the folds of a task's log, or the key index over all of its clicks."""
    dataset = hold_out(load_dataset(task.data), task.config.holdout, task.config.seed)
    if fold is None:
        return key_index(dataset, Clicks.of(dataset.train, len(dataset.user_ids)))
    return LearnedLog.of(dataset, task.config).count(dataset, fold)


def _cause(error: Exception, failures: dict[int, Exception]) -> Exception:
    """What a user can mend, among what the workers raised, else the error as it is."""
    for failure in failures.values():
        for cause in (getattr(failure, "cause", None), failure):
            if isinstance(cause, ConfigError | DataError):
                return cause
    return error
