"""The quality meter: repeats sampled searches exhaustively in the background, and measures the overlap."""

from __future__ import annotations

import random
from dataclasses import dataclass

from index_store.search.exhaustive_search import ExhaustiveSearch
from service.contract.answer import Answer
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from service.sampling.background_sampler import BackgroundSampler
from service.telemetry import metrics
from service.telemetry.request_log import log


@dataclass(frozen=True)
class _Sample:
    """An answered request; its retriever stays usable while it is referenced, even after a swap."""

    retriever: Retriever
    query: Query
    answer: Answer


class QualityMeter(BackgroundSampler[_Sample]):
    """Observes `retrieval_live_overlap` for a share of the answers.

    While one sample is searched for, one waits; more are dropped and counted.

    Args:
        sample_rate: share of the answers, 0 to 1; 0 starts no thread.
    """

    def __init__(self, sample_rate: float) -> None:
        super().__init__("quality", 1, metrics.QUALITY_SKIPPED)
        self._sample_rate = sample_rate
        if sample_rate:
            self._thread.start()

    def offer(self, retriever: Retriever, query: Query, answer: Answer) -> None:
        """Samples an answer with the set probability; never waits."""
        if random.random() < self._sample_rate and not query.exact:
            self._take(_Sample(retriever, query, answer))

    def _work(self, sample: _Sample) -> None:
        retriever, query, found = sample.retriever, sample.query, sample.answer.found
        snapshot = sample.answer.snapshot
        user = retriever.encode(query, snapshot)
        truth = ExhaustiveSearch(retriever.bundle.content.tree, self._pausing(retriever.scorer)).search(
            retriever.query(user, snapshot=snapshot, corrections=sample.answer.corrections),
            top_k=query.top_k, task_weights=query.task_weights,
            eligible=retriever.eligible(user, retriever.excluded(query, user, snapshot), snapshot),
            valuation=retriever.valuation(query.by_ecpm, snapshot), caps=retriever.caps(query.max_per, snapshot))
        if truth.narrowed:  # a shard is away: it is no truth
            metrics.QUALITY_SKIPPED.inc()
            return
        if query.floor:
            truth = truth.from_ecpm(query.floor)
        metrics.LIVE_OVERLAP.labels(retriever.bundle.bundle_id, "true" if found.narrowed else "false",
                                    "ecpm" if query.by_ecpm else "score").observe(found.overlap(truth))

    def _failed(self, sample: _Sample, error: Exception) -> None:
        log("quality_meter_failed", bundle_id=sample.retriever.bundle.bundle_id, reason=type(error).__name__)
