"""Late labels in training: what events teach, and the rates that the logits start at.

The windows of a label are heads of one backbone. The longest is the task itself, and the only one that is exported.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.config.errors import ConfigError
from model.data.label_windows import Targets
from model.data.load import Dataset, Events


def window_targets(dataset: Dataset, events: Events) -> Targets | None:
    """What events of a log teach, by logit; None if no task has windows."""
    if dataset.windows is None:
        return None
    return dataset.windows.targets(events.labels, events.users, events.items, events.timestamps, events.delays)


def base_rates(dataset: Dataset) -> NDArray[np.float64]:
    """Share of positives among the train labels of each logit: (tasks + windows,), 0 where there are none.

    Raises:
        ConfigError: the longest window of a task has closed for no event.
    """
    if not len(dataset.train):  # of a teacher that is older than the whole log that it labels
        return np.zeros(len(dataset.spec.tasks) + len(dataset.spec.window_heads))
    targets = window_targets(dataset, dataset.train)
    if targets is None:
        rates: NDArray[np.float64] = dataset.train.labels.mean(axis=0)
        return rates
    assert dataset.windows is not None
    for number, spans in zip(dataset.windows.tasks, dataset.windows.spans, strict=True):
        task = dataset.spec.tasks[number]
        if int(dataset.train.timestamps.min()) + spans[-1] > dataset.windows.now:
            raise ConfigError(f"the longest window of task {task.name} has {task.windows[-1]:g} hours, but the train "
                              "events span less, so none of their labels is known; give a shorter window or a longer "
                              "log")
    return targets.rates()
