"""A background thread that works through samples of requests at low priority, within a share of a core."""

from __future__ import annotations

import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from index_store.search.scoring import TowerScorer, UserQuery

Sample = TypeVar("Sample")

_BLOCK = 512
"""Pairs that are scored between two pauses, which delays a request by a fraction of a millisecond at most."""

SHARE = 0.25
"""Share of one core that is used at most, while there are samples to work on, by samplers that name no other."""

_LOWEST_PRIORITY = 19
_CLOSE_SECONDS = 5.0


class BackgroundSampler(ABC, Generic[Sample]):
    """One thread at the priority `_niceness`, and a bounded queue of samples; further ones are dropped and counted.

    Args:
        name: of the thread.
        room: samples that may wait.
        passed_over: counts those that are dropped.
        idle_seconds: time without a sample after which `_idle` is called; None never calls it.
        share: of one core, that is used at most.
    """

    _niceness = _LOWEST_PRIORITY

    def __init__(self, name: str, room: int, passed_over: Counter, idle_seconds: float | None = None,
                 share: float = SHARE) -> None:
        self._waiting: Queue[Sample | None] = Queue(maxsize=room)
        self._passed_over, self._idle_seconds = passed_over, idle_seconds
        self._closed = threading.Event()
        self._pauses = Pauses(self._closed, share)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def close(self) -> None:
        """Ends the thread, even in the middle of a sample."""
        self._closed.set()
        with suppress(Full):
            self._waiting.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_SECONDS)

    @abstractmethod
    def _work(self, sample: Sample) -> None:
        """Works on a sample, in the thread."""

    @abstractmethod
    def _failed(self, sample: Sample, error: Exception) -> None:
        """Handles a sample that `_work` raised for; the thread goes on."""

    def _idle(self) -> None:
        """Called in the thread when there was no sample for `idle_seconds`."""

    def _take(self, sample: Sample) -> None:
        """Queues a sample, or drops it where the queue is full; never waits."""
        try:
            self._waiting.put_nowait(sample)
        except Full:
            self._passed_over.inc()

    def _pausing(self, scorer: TowerScorer) -> PausingScorer:
        """A scorer for searches in the thread, which pauses between blocks and ends when this is closed."""
        return PausingScorer(scorer, self._pauses)

    def _run(self) -> None:
        if sys.platform == "linux" and self._niceness:  # elsewhere the call changes the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while not self._closed.is_set():
            self._next()

    def _next(self) -> None:
        """Waits for a sample and works on it; while waiting it holds no sample, and so keeps no bundle open."""
        try:
            sample = self._waiting.get(timeout=self._idle_seconds)
        except Empty:
            self._idle()
            return
        if sample is None:
            return
        try:
            self._pauses.begin()
            self._work(sample)
            self._pauses.pause()
        except ClosedError:
            return
        except Exception as error:  # the service does not depend on it
            self._failed(sample, error)


class ClosedError(Exception):
    """The sampler was closed while it searched."""


@dataclass
class Pauses:
    """Keeps one thread within its share of a core.

    Attributes:
        closed: ends all pauses.
        share: of one core.
        since: processor time of the thread when the last pause ended.
    """

    closed: threading.Event
    share: float = SHARE
    since: float = 0.0

    def begin(self) -> None:
        """Starts measuring."""
        self.since = time.thread_time()

    def pause(self) -> None:
        """Waits in proportion to the work done since the last pause.

        Raises:
            ClosedError: the sampler is closed.
        """
        if self.closed.wait((time.thread_time() - self.since) * (1 / self.share - 1)):
            raise ClosedError
        self.begin()


@dataclass(frozen=True)
class PausingScorer:
    """Scores as another scorer does, in small blocks with pauses between them.

    Raises:
        ClosedError: from `score`, once the sampler is closed.
    """

    scorer: TowerScorer
    pauses: Pauses

    @property
    def ensemble(self) -> tuple[int, ...]:
        return self.scorer.ensemble

    def score(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        for block in np.array_split(nodes, -(-len(nodes) // _BLOCK)):
            parts.append(self.scorer.score(query, level, block))
            self.pauses.pause()
        return np.concatenate(parts)
