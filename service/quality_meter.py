"""How good the answers are that people really get: some are searched for again, exhaustively, off the hot path.

One thread a worker, at the lowest priority and with pauses, so that requests hardly feel it. Knows no HTTP.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue

import numpy as np
from numpy.typing import NDArray

from index_store.scoring import TowerScorer, UserQuery
from index_store.search import ExhaustiveSearch
from service import metrics
from service.answer import Answer
from service.query import Query
from service.request_log import log
from service.retriever import Retriever

_BLOCK = 512
"""Pairs that are scored between two pauses: fractions of a millisecond for which a request may have to wait."""

_SHARE = 0.25
"""Of one core, at most, while a sample is searched for."""

_LOWEST_PRIORITY = 19
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class _Sample:
    """An answered request; the retriever stays usable as long as somebody holds it, even after a swap."""

    retriever: Retriever
    query: Query
    answer: Answer


class QualityMeter:
    """Observes `retrieval_live_overlap` for a share of the answers.

    While one sample is searched for, one waits; more are counted and passed over.

    Args:
        sample_rate: share of the answers, 0 to 1; 0 starts no thread.
    """

    def __init__(self, sample_rate: float) -> None:
        self._sample_rate = sample_rate
        self._waiting: Queue[_Sample | None] = Queue(maxsize=1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quality", daemon=True)
        if sample_rate:
            self._thread.start()

    def offer(self, retriever: Retriever, query: Query, answer: Answer) -> None:
        """Takes an answer into the sample, or not; never waits."""
        if random.random() >= self._sample_rate or query.exact:
            return
        try:
            self._waiting.put_nowait(_Sample(retriever, query, answer))
        except Full:
            metrics.QUALITY_SKIPPED.inc()

    def close(self) -> None:
        """Ends the thread, in the middle of a sample if there is one."""
        self._closed.set()
        with suppress(Full):
            self._waiting.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere it would be the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while self._measure_next():
            pass

    def _measure_next(self) -> bool:
        """Waits for a sample and measures it; holds none, and so no bundle, while it waits. False at the end."""
        sample = self._waiting.get()
        if sample is None:
            return False
        try:
            self._measure(sample)
        except _ClosedError:
            return False
        except Exception as error:  # the service answers without this figure too
            log("quality_meter_failed", bundle_id=sample.retriever.bundle.bundle_id, reason=type(error).__name__)
        return True

    def _measure(self, sample: _Sample) -> None:
        retriever, query, found = sample.retriever, sample.query, sample.answer.found
        user = retriever.encode(query)
        scorer = _PausingScorer(retriever.scorer, self._closed)
        truth = ExhaustiveSearch(retriever.bundle.content.tree, scorer).search(
            retriever.query(user), top_k=query.top_k, task_weights=query.task_weights,
            eligible=retriever.eligible(user, retriever.item_rows(query.exclude_ad_ids)))
        narrowed = "true" if found.narrowed else "false"
        metrics.LIVE_OVERLAP.labels(retriever.bundle.bundle_id, narrowed).observe(found.overlap(truth))


class _ClosedError(Exception):
    """The meter was closed while it searched."""


@dataclass(frozen=True)
class _PausingScorer:
    """Scores as another does, in small blocks with pauses between them."""

    scorer: TowerScorer
    closed: threading.Event

    @property
    def ensemble(self) -> tuple[int, ...]:
        return self.scorer.ensemble

    def score(self, query: UserQuery, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        for block in np.array_split(nodes, -(-len(nodes) // _BLOCK)):
            start = time.thread_time()
            parts.append(self.scorer.score(query, level, block))
            if self.closed.wait((time.thread_time() - start) * (1 / _SHARE - 1)):
                raise _ClosedError
        return np.concatenate(parts)
