"""Checks of the attribution windows that a declaration gives to tasks whose labels come late."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from index_store.declaration.context_fields import REQUEST_ID
from index_store.declaration.values import FeatureError

if TYPE_CHECKING:
    from index_store.declaration.spec import FeatureSpec

MOST_HOURS = 87_600
"""Longest window; with times in nanoseconds, much longer ones would not fit 64 bits."""


def check_label_windows(spec: FeatureSpec) -> None:
    """Checks `windows` and `time` of all tasks of a declaration.

    Raises:
        FeatureError: one of the two is missing, windows are not positive numbers up to MOST_HOURS that ascend, the log
            has no times or no negatives, or the column of the times has the name of another one.
    """
    taken = ["user_id", "ad_id", "timestamp", REQUEST_ID, *(task.name for task in spec.tasks),
             *(field.name for field in spec.model_context)]
    for task in spec.tasks:
        hours, name = list(task.windows), task.name
        if bool(hours) != bool(task.time):
            given, lacking = ("windows", "time") if hours else ("time", "windows")
            raise FeatureError(name, f"task {name!r} has {given}, but no {lacking}",
                               'give both, such as "windows": [24, 168], hours, and "time": "converted_at", the column '
                               "of the events with the time of the label")
        if not hours:
            continue
        if not all(math.isfinite(hour) and hour > 0 for hour in hours):
            raise FeatureError(name, f"the windows {hours} of task {name!r} are not all numbers above 0", "give hours")
        if hours[-1] > MOST_HOURS:
            raise FeatureError(name, f"the longest window of task {name!r} has {hours[-1]:g} hours",
                               f"give at most {MOST_HOURS:,} hours, ten years")
        if sorted(set(hours)) != hours:
            raise FeatureError(name, f"the windows {hours} of task {name!r} are not ascending",
                               f"give hours from the shortest to the longest, each once: {sorted(set(hours))}")
        if spec.negatives == "sampled":
            raise FeatureError(name, f"task {name!r} has windows, but the log holds positives only",
                               "leave windows out: nothing in such a log waits for a label")
        if not spec.history_ordered:
            raise FeatureError(name, f"task {name!r} has windows, but history_ordered says that times order nothing",
                               "leave windows out, or bring times")
        if not task.time.isidentifier() or task.time in taken:
            raise FeatureError(name, f"the time of task {name!r} is to be read from the column {task.time!r}",
                               "name a column of its own, of letters, digits and _")
        taken.append(task.time)
