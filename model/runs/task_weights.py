"""Weights of a log's tasks in the loss of a run."""

from __future__ import annotations

from index_store.declaration.spec import FeatureSpec
from model.config.errors import ConfigError
from model.config.train import TrainConfig


def task_weights(spec: FeatureSpec, config: TrainConfig) -> list[float]:
    """Weight of each task in the loss: the run's, else the log's.

    Raises:
        ConfigError: the run weighs a task that the log lacks, or none.
    """
    names = [task.name for task in spec.tasks]
    for name in config.task_weights:
        if name not in names:
            raise ConfigError(f"the task weights name {name!r}, but the tasks of this log are {', '.join(names)}; "
                              "weigh those")
    weights = [float(config.task_weights.get(task.name, task.weight)) for task in spec.tasks]
    if not any(weights):
        raise ConfigError(f"the tasks {', '.join(names)} all have weight 0; give one a weight above 0 to learn it")
    return weights
