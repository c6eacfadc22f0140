"""The beam recorder: writes the beams of sampled requests for test-time training; off by default."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from index_store.features.ragged import Ragged
from index_store.live.snapshot import Snapshot
from index_store.search.beam_search import BeamSearch
from index_store.search.trace import kept_nodes
from index_store.tree.recorded_beams import RecordedBeams
from service.contract.answer import Answer
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from service.sampling.background_sampler import BackgroundSampler
from service.sampling.beam_files import file_name, load_parquet, write_beams
from service.telemetry import metrics
from service.telemetry.request_log import log

_ROOM = 16
"""Samples that may wait: room for a burst, while few bundles are kept open by it."""

_FILE_ROWS, _FILE_SECONDS = 4096, 600.0
_FILE_NUMBERS = 1 << 22
"""A file is written once it has so many rows or numbers (16 MiB), or its first row is so old."""


@dataclass(frozen=True)
class _Sample:
    """An answered request and what it saw; its retriever stays usable while it is referenced, even after a swap."""

    retriever: Retriever
    query: Query
    snapshot: Snapshot


class BeamRecorder(BackgroundSampler[_Sample]):
    """Writes encoded users and the nodes that the beam kept for them, without their ids.

    The search is repeated in the background with the beam width of the request, but over all ads: targeting and
    exclusions are left out. Test-time training needs to know in which share of a node's children a user is interested
    (Section 3.6), and a child that no advertiser offered to the user says nothing about that. Requests with targeting
    are recorded too, since where ads have predicates every request is under targeting.

    Not recorded are requests to /explain, `exact` ones, those that a deadline narrowed, and those whose task weights
    name more than the first task.

    Args:
        sample_rate: share of the answers, 0 to 1; 0 starts no thread.
        folder: of the files; may be None where the rate is 0.
        file_rows, file_seconds: a file is written once it has so many rows, or its first one is so old.
    """

    def __init__(self, sample_rate: float, folder: Path | None, *, file_rows: int = _FILE_ROWS,
                 file_seconds: float = _FILE_SECONDS) -> None:
        super().__init__("beams", _ROOM, metrics.BEAMS_DROPPED, idle_seconds=min(1.0, file_seconds))
        self._folder, self._file_rows, self._file_seconds = folder, file_rows, file_seconds
        self._rows: list[RecordedBeams] = []
        self._numbers, self._began, self._bundle_id, self._tree = 0, 0.0, "", ""
        self._sample_rate = sample_rate if folder is not None else 0.0
        if self._sample_rate:
            load_parquet()
            self._thread.start()

    def offer(self, retriever: Retriever, query: Query, answer: Answer) -> None:
        """Samples an answered request with the set probability; never waits."""
        if random.random() >= self._sample_rate or query.exact or query.explain_ad is not None:
            return
        if not answer.found.narrowed and not query.task_weights[1:].any():
            self._take(_Sample(retriever, query, answer.snapshot))

    def close(self) -> None:
        """Ends the thread and writes the beams recorded so far."""
        super().close()
        if not self._thread.is_alive():
            self._write()

    def _work(self, sample: _Sample) -> None:
        retriever, query = sample.retriever, sample.query
        tree, user = retriever.bundle.content.tree, retriever.encode(query, sample.snapshot)
        found = BeamSearch(tree, self._pausing(retriever.scorer)).search(
            retriever.query(user), top_k=query.top_k, beam_width=retriever.beam_of(query, None).beam_width,
            task_weights=query.task_weights, trace=True)
        history = user.history[user.history < tree.n_items]
        row = RecordedBeams(user.features, Ragged.of([history]), kept_nodes(tree, found.steps))
        if retriever.bundle.bundle_id != self._bundle_id:
            self._write()  # a file holds beams of one bundle
            self._bundle_id, self._tree = retriever.bundle.bundle_id, tree.digest
        if not self._rows:
            self._began = time.monotonic()
        self._rows.append(row)
        self._numbers += row.numbers
        metrics.BEAMS_RECORDED.inc()
        if len(self._rows) >= self._file_rows or self._numbers >= _FILE_NUMBERS:
            self._write()
        self._idle()

    def _failed(self, sample: _Sample, error: Exception) -> None:
        self._lost(1, sample.retriever.bundle.bundle_id, type(error).__name__)

    def _idle(self) -> None:
        if self._rows and time.monotonic() - self._began >= self._file_seconds:
            self._write()

    def _write(self) -> None:
        """Writes the rows, or drops them on failure, since they must not pile up when the disk is full."""
        rows, self._rows, self._numbers = self._rows, [], 0
        if not rows or self._folder is None:
            return
        try:
            write_beams(self._folder / file_name(self._bundle_id), RecordedBeams.joined(rows), self._bundle_id,
                        self._tree)
        except Exception as error:  # the service does not depend on these files
            reason = error.strerror if isinstance(error, OSError) else None
            self._lost(len(rows), self._bundle_id, reason or type(error).__name__)

    def _lost(self, beams: int, bundle_id: str, reason: str) -> None:
        metrics.BEAMS_FAILED.inc(beams)
        log("beam_recorder_failed", bundle_id=bundle_id, beams=beams, reason=reason)
