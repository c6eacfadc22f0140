"""What a log lacks to learn from, told before the training: an error where nothing can be learned, else warnings."""

from __future__ import annotations

import numpy as np

from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.load import Dataset
from model.progress.lines import tell
from model.runs.task_weights import task_weights

FEW_POSITIVES = 100


def check_log(dataset: Dataset, config: TrainConfig) -> None:
    """Checks what a run is to learn from, and warns on standard error.

    Args:
        dataset: the log, before anything is held out.
        config: of the run, whose task weights count.

    Raises:
        ConfigError: no task that is learned has a positive, or the first one, by which ads are ranked, has none.
    """
    weights, spec, labels = np.array(task_weights(dataset.spec, config)), dataset.spec, dataset.train.labels
    names = [task.name for task in spec.tasks]
    positives = labels.sum(axis=0, dtype=np.int64)
    if not positives[weights > 0].any():
        raise ConfigError(f"no train event has label 1 of {' or '.join(np.array(names)[weights > 0])}, so there is "
                          "nothing to learn; give events with positives")
    if not positives[0]:
        raise ConfigError(f"no train event has label 1 of {names[0]}, and ads are ranked by the first task; give "
                          f"events with positives of {names[0]}, or put another task first in features.json")
    for name, weight, count in zip(names, weights, positives, strict=True):
        if weight and count in (0, len(labels)) and (spec.negatives == "impressions" or not count):
            _warn(_of_one_class(name, int(count > 0), len(labels), spec.negatives))
    every = int(labels[:, weights > 0].any(axis=1).sum())
    if every < FEW_POSITIVES:
        _warn(f"only {every} of the {len(labels):,} train events have a positive label, and little can be learned of "
              f"so few; give events with {FEW_POSITIVES} or more")
    _warn_of_users_without_history(dataset)


def _of_one_class(name: str, label: int, events: int, negatives: str) -> str:
    if negatives == "sampled":
        return (f"task {name} has no positive in {events:,} train events, so its scores mean nothing; give events in "
                "which the task has positives, or leave it out of features.json")
    return (f"task {name} has the label {label} in all {events:,} train impressions, so it teaches nothing about the "
            "ads and its normalized entropy is undefined; " + (
                "declare negatives \"sampled\" in features.json if the log holds positives only" if label else
                "give events in which the task has positives"))


def _warn_of_users_without_history(dataset: Dataset) -> None:
    """Warns if most of the test users have no train click; of test events, only the users are read."""
    if dataset.test is None or not len(dataset.test) or not dataset.spec.user_ids:
        return
    clicked = np.zeros(len(dataset.user_ids), bool)
    clicked[dataset.train.users[dataset.train.labels.any(axis=1)]] = True
    users = np.unique(dataset.test.users)
    known = int(clicked[users].sum())
    if not known:
        _warn(f"none of the {len(users):,} test users has a positive train event, so the test measures users without a "
              "history alone; check that both tables name users in the same way")
    elif 2 * known < len(users):
        _warn(f"only {known:,} of the {len(users):,} test users have a positive train event; the test mostly measures "
              "users without a history")


def _warn(line: str) -> None:
    tell(f"warning: {line}")
