"""Attribution windows of labels that come late: what is known of them at a time, and what each row may teach.

A label that may still come does not count as a negative. A window of a row is closed once the row is as old as the
window: from then on it is known whether the label came within it. A row that is younger than the longest window and has
no label yet says something all the same. Of the labels that come within that window, the share F(age) has come by then,
so a row has no label yet with probability 1 - F(age) p (Chapelle 2014, with the log's own F instead of an exponential).
Windows, delays and times are in the unit of the log's timestamps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from model.data.clocks import per_second

NEVER = -1
"""Delay of a label that has not come."""

SETTLED = -1e9
"""`waiting` of a label that is known."""

Rule = Literal["waiting", "every", "one"]


def delays_of(came: pa.Array, impressions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Delays (N,) of labels after their impressions (N,), NEVER where none came; `came` is null there."""
    known = pc.is_valid(came).to_numpy(zero_copy_only=False)
    times = pc.fill_null(came.cast(pa.int64()), 0).to_numpy()
    return np.where(known, times - impressions, NEVER)


@dataclass(frozen=True)
class Targets:
    """What N events teach, by logit: those of the T tasks, then one a window but the longest.

    Attributes:
        labels: (N, T + E) int8.
        counted: (N, T + E) bool, which of them are learned.
        waiting: (N, T + E) float32, logarithm of the share of the labels that are still to come, at the age of the
            event; SETTLED where none is.
        heads: (T + E,) int64, the task of each.
    """

    labels: NDArray[np.int8]
    counted: NDArray[np.bool_]
    waiting: NDArray[np.float32]
    heads: NDArray[np.int64]

    def rates(self) -> NDArray[np.float64]:
        """Rate of the positives (T + E,), those to come included, by what is learned; 0 where nothing is."""
        positives, due = self.labels * self.counted, self.counted * -np.expm1(self.waiting.astype(np.float64))
        found: NDArray[np.float64] = positives.sum(0) / np.maximum(due.sum(0), 1)
        return found


@dataclass(frozen=True)
class LabelWindows:
    """The windows of a log's D delayed tasks.

    Attributes:
        tasks: their numbers among the tasks.
        spans: of each, its windows, ascending.
        now: the time at which the log is learned, that of its last train event.
        rule: which windows an event teaches. `every` one that has closed; `one` of these (Zipper), picked by a hash, so
            that it stays the same as long as no other closes; or with `waiting` every one, and the longest also where
            it has not closed, by how likely it is that the label would have been there by now.
    """

    tasks: tuple[int, ...]
    spans: tuple[tuple[int, ...], ...]
    now: int
    rule: Rule = "waiting"

    @classmethod
    def of(cls, spec: FeatureSpec, clock: pa.DataType, now: int) -> LabelWindows | None:
        """The windows of a declaration, given the type of the timestamps; None if no task has any."""
        hour = 3600 * per_second(clock)
        late = [(at, tuple(round(hours * hour) for hours in task.windows))
                for at, task in enumerate(spec.tasks) if task.windows]
        return cls(tuple(at for at, _ in late), tuple(spans for _, spans in late), now) if late else None

    def final(self, labels: NDArray[np.int8], delays: NDArray[np.int64] | None) -> NDArray[np.int8]:
        """Labels (N, T) of whether they came within the longest window, given the delays (N, D)."""
        return self._came(labels, delays, [np.int64(spans[-1]) for spans in self.spans])

    def known(self, labels: NDArray[np.int8], times: NDArray[np.int64],
              delays: NDArray[np.int64] | None) -> NDArray[np.int8]:
        """Labels (N, T) of events of these times (N,) as they are known now: 0 where one is still to come."""
        return self._came(labels, delays, [np.minimum(spans[-1], self.now - times) for spans in self.spans])

    def closed(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the longest windows of all delayed tasks have closed for events of these times (N,)."""
        return times + max(spans[-1] for spans in self.spans) <= self.now

    def targets(self, labels: NDArray[np.int8], users: NDArray[np.int32], items: NDArray[np.int32],
                times: NDArray[np.int64], delays: NDArray[np.int64] | None) -> Targets:
        """What events teach now.

        Args:
            labels: (N, T).
            users, items: (N,) rows.
            times: (N,).
            delays: (N, D).
        """
        assert delays is not None
        tasks = labels.shape[1]
        heads = np.array([*range(tasks), *(task for task, spans in zip(self.tasks, self.spans, strict=True)
                                           for _ in spans[1:])], np.int64)
        values, counted = np.zeros((len(labels), len(heads)), np.int8), np.ones((len(labels), len(heads)), bool)
        waiting = np.full(values.shape, SETTLED, np.float32)
        values[:, :tasks] = labels
        luck, first = _hashed(users, items, times), tasks
        for at, (task, spans) in enumerate(zip(self.tasks, self.spans, strict=True)):
            columns = [*range(first, first + len(spans) - 1), task]
            first += len(spans) - 1
            closed = (times[:, None] + np.array(spans) <= self.now).sum(1)
            picked = np.where(closed > 0, np.floor(luck * closed), -1)
            order = np.arange(len(spans))
            counted[:, columns] = order == picked[:, None] if self.rule == "one" else order < closed[:, None]
            values[:, columns] = (delays[:, at, None] >= 0) & (delays[:, at, None] <= np.array(spans))
            if self.rule == "waiting":
                known, came = closed == len(spans), self._came_by(times, delays[:, at], spans[-1])
                counted[:, task] = known | (came > 0)
                values[:, task] = labels[:, task]
                with np.errstate(divide="ignore"):
                    waiting[:, task] = np.where(known, SETTLED, np.maximum(np.log1p(-came), SETTLED))
        return Targets(values, counted, waiting, heads)

    def _came_by(self, times: NDArray[np.int64], delays: NDArray[np.int64], span: int) -> NDArray[np.float64]:
        """Share F (N,) of the labels within a span that come by the age that events of these times have now.

        It is that of the events that are as old as the span; 0 if none of these has a label.
        """
        settled = times + span <= self.now
        own = np.sort(delays[settled & (delays >= 0) & (delays <= span)])
        share: NDArray[np.float64] = np.searchsorted(own, self.now - times, side="right") / max(1, len(own))
        return share

    def _came(self, labels: NDArray[np.int8], delays: NDArray[np.int64] | None,
              most: list[NDArray[np.int64] | np.int64]) -> NDArray[np.int8]:
        assert delays is not None
        found = labels.copy()
        for at, task in enumerate(self.tasks):
            found[:, task] = (delays[:, at] >= 0) & (delays[:, at] <= most[at])
        return found


def _hashed(users: NDArray[np.int32], items: NDArray[np.int32], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each event (N,): the finaliser of SplitMix64 over user, item and time."""
    x = np.zeros(len(users), np.uint64)
    for part in (users, items, times):
        x = (x ^ part.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
