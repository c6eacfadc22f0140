"""The calibration meter: what the bundle predicts for impressions that were reported, and what came of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from index_store.changes.change_log import Write
from index_store.declaration.spec import BidType
from index_store.live.snapshot import Snapshot
from index_store.live.user_history import AD_ID, CONTEXT, TYPE, EventType
from service.retrieval.retriever import Retriever
from service.sampling.background_sampler import BackgroundSampler
from service.telemetry import metrics
from service.telemetry.request_log import log

_ROOM = 1_000
"""Impressions that may wait; each takes about a millisecond."""

_LABELS: dict[str, BidType] = {EventType.CLICK: "CPC", EventType.CONVERSION: "CPA"}
"""Event -> the bids that pay for it, by which a task is known to be its label."""


@dataclass(frozen=True)
class _Impression:
    """Who saw what, in which context; the retriever stays usable while it is referenced, even after a swap."""

    retriever: Retriever
    snapshot: Snapshot
    user_id: bytes
    ad_id: bytes
    context: Mapping[str, object]


class CalibrationMeter(BackgroundSampler[_Impression]):
    """Sums predicted probabilities and observed labels of each task that bids pay for.

    A share of the pairs of user and ad is sampled, by their hash: all impressions of a pair are, with the clicks and
    conversions that come of them, whichever worker and call they come by.

    Args:
        sample_rate: share of the pairs, 0 to 1; 0 starts no thread.
    """

    def __init__(self, sample_rate: float) -> None:
        super().__init__("calibration", _ROOM, metrics.CALIBRATION_SKIPPED)
        self._sampled_below = sample_rate * 2**32
        if sample_rate:
            self._thread.start()

    def offer(self, retriever: Retriever, snapshot: Snapshot, events: Sequence[Write]) -> None:
        """Samples events that were written; never waits. A bundle without calibration is not measured."""
        content = retriever.bundle.content
        if content.calibrations is None or not self._sampled_below:
            return
        spec = content.encoder.spec
        for event in events:
            user_id, ad_id, kind = event.id.encode(), event.fields[AD_ID].encode(), event.fields[TYPE]
            if zlib.crc32(user_id + b"\0" + ad_id) >= self._sampled_below:
                continue
            if kind == EventType.IMPRESSION:
                self._take(_Impression(retriever, snapshot, user_id, ad_id, event.fields.get(CONTEXT, {})))
            elif (task := spec.paid.get(_LABELS[kind])) is not None:
                metrics.CALIBRATION_OBSERVED.labels(retriever.bundle.bundle_id, spec.tasks[task].name).inc()

    def _work(self, impression: _Impression) -> None:
        retriever = impression.retriever
        found = retriever.probabilities_of(impression.user_id, impression.ad_id, impression.snapshot,
                                           impression.context)
        spec = retriever.bundle.content.encoder.spec
        for task in spec.paid.values():
            if task is not None and found is not None:
                metrics.CALIBRATION_PREDICTED.labels(retriever.bundle.bundle_id, spec.tasks[task].name).inc(found[task])

    def _failed(self, impression: _Impression, error: Exception) -> None:
        log("calibration_meter_failed", bundle_id=impression.retriever.bundle.bundle_id, reason=type(error).__name__)
