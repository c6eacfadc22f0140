"""The shadow meter: answers sampled requests from another bundle in the background, and compares what was returned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.values import FeatureError
from index_store.live.snapshot import Snapshot
from index_store.search.beam_search import BeamSearch
from index_store.search.ranking import SearchResult
from index_store.targeting.predicates import PredicateError
from service.contract.answer import Answer
from service.contract.errors import ServiceError
from service.contract.parsing import UNLIMITED, parse_body, to_query
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from service.sampling.ad_tally import AdTally
from service.sampling.background_sampler import BackgroundSampler
from service.telemetry import metrics
from service.telemetry.request_log import log


@dataclass(frozen=True)
class Opened:
    """A bundle and the snapshot of a moment; its retriever stays usable while it is referenced, even after a swap."""

    retriever: Retriever
    snapshot: Snapshot


@dataclass(frozen=True)
class _Sample:
    """An answered request, its body, who answered it, and who is to be compared."""

    query: Query
    answer: Answer
    body: bytes
    current: Opened
    shadow: Opened


@dataclass(frozen=True)
class OnlyOne:
    """The ads that one bundle shows and the other does not, for one pair of bundles.

    Attributes:
        pair: ids of the shadow and of the bundle that answers.
        current, shadow: how often each ad was returned and not shown by the shadow, and the other way round.
    """

    pair: tuple[str, str] = ("", "")
    current: AdTally = field(default_factory=AdTally)
    shadow: AdTally = field(default_factory=AdTally)


class ShadowMeter(BackgroundSampler[_Sample]):
    """Compares as many answers as fit into its share of a core: the next one that comes once it is free.

    Both bundles search in the thread, one after the other in random order, so that their processor times compare. What
    was returned is compared as the search found it, without exploration. Not compared are `exact` requests, those to
    /explain, those with `budget_ms`, which chooses the beam by the clock, and answers that a deadline cut short.

    Args:
        share: of one core.

    Attributes:
        only_one: of the bundles that were compared last.
    """

    # It works all the time, in small steps that hold the interpreter. A thread of the lowest priority that is taken off
    # a busy core within one keeps every request of the worker waiting; its share alone keeps it out of the way.
    _niceness = 0

    def __init__(self, share: float) -> None:
        super().__init__("shadow", 1, metrics.SHADOW_SKIPPED.labels("busy"), share=share)
        self.only_one = OnlyOne()
        self._random = np.random.default_rng()
        self._thread.start()

    def offer(self, query: Query, answer: Answer, body: bytes, current: Opened, shadow: Opened) -> None:
        """Takes an answer if nothing else waits; never waits itself."""
        if not query.exact and query.explain_ad is None and query.budget_ms is None and not answer.found.narrowed:
            self._take(_Sample(query, answer, body, current, shadow))

    def _work(self, sample: _Sample) -> None:
        began = time.thread_time()
        try:
            self._compare(sample)
        except (ServiceError, FeatureError, PredicateError):
            metrics.SHADOW_SKIPPED.labels("refused").inc()
        finally:
            metrics.SHADOW_CPU.inc(time.thread_time() - began)

    def _compare(self, sample: _Sample) -> None:
        asked = to_query(parse_body(sample.body), sample.shadow.retriever.bundle.manifest, UNLIMITED)
        query = replace(asked, at=sample.query.at)
        pairs = [(sample.current, sample.query), (sample.shadow, query)]
        order = (0, 1) if self._random.random() < 0.5 else (1, 0)
        found = {side: self._searched(*pairs[side]) for side in order}
        bundles = (sample.shadow.retriever.bundle.bundle_id, sample.current.retriever.bundle.bundle_id)
        for side, name in enumerate(("current", "shadow")):
            metrics.SHADOW_SECONDS.labels(*bundles, name).observe(found[side][1])
        self._observe(bundles, _shown(sample.current, sample.answer.found), _shown(sample.shadow, found[1][0]))

    def _searched(self, opened: Opened, query: Query) -> tuple[SearchResult, float]:
        """The best ads of a query, and the processor time from features to ads, without pauses."""
        began, retriever, snapshot = time.thread_time(), opened.retriever, opened.snapshot
        user = retriever.encode(query, snapshot)
        eligible = retriever.eligible(user, retriever.excluded(query, user, snapshot), snapshot)
        found = BeamSearch(retriever.bundle.content.tree, self._pausing(retriever.scorer)).search(
            retriever.query(user, snapshot=snapshot), top_k=query.top_k,
            beam_width=retriever.beam_of(query, eligible).beam_width, task_weights=query.task_weights,
            eligible=eligible, valuation=retriever.valuation(query.by_ecpm, snapshot),
            caps=retriever.caps(query.max_per, snapshot))
        return found.from_ecpm(query.floor) if query.floor else found, time.thread_time() - began

    def _observe(self, bundles: tuple[str, str], ours: Shown, theirs: Shown) -> None:
        metrics.SHADOW_OVERLAP.labels(*bundles).observe(overlap(ours.ads, theirs.ads))
        for task, (scale, difference) in drift(ours, theirs).items():
            metrics.SHADOW_DRIFT.labels(*bundles, task, scale).observe(difference)
        if self.only_one.pair != bundles:
            self.only_one = OnlyOne(bundles)
        self.only_one.current.add(set(ours.ads).difference(theirs.ads))
        self.only_one.shadow.add(set(theirs.ads).difference(ours.ads))

    def _failed(self, sample: _Sample, error: Exception) -> None:
        metrics.SHADOW_SKIPPED.labels("failed").inc()
        log("shadow_meter_failed", bundle_id=sample.shadow.retriever.bundle.bundle_id, reason=type(error).__name__)


@dataclass(frozen=True)
class Shown:
    """What a bundle shows: ads (K,), their logits (K, tasks) float32, and probabilities where it has some."""

    ads: Sequence[str]
    tasks: Sequence[str]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None


def _shown(opened: Opened, found: SearchResult) -> Shown:
    return Shown(opened.snapshot.ad_ids(found.rows), opened.retriever.bundle.manifest.tasks, found.logits,
                  opened.retriever.probabilities(found.logits))


def overlap(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Share of the longer of two answers that both show; 1 if both are empty."""
    return len(set(ours) & set(theirs)) / max(len(ours), len(theirs), 1) if ours or theirs else 1.0


def drift(ours: Shown, theirs: Shown) -> dict[str, tuple[str, float]]:
    """Task -> scale, and theirs less ours, the mean over the ads that both show; empty if there are none."""
    at = {ad: row for row, ad in enumerate(ours.ads)}
    both = [(at[ad], row) for row, ad in enumerate(theirs.ads) if ad in at]
    if not both:
        return {}
    one, other = np.array(both).T
    scale, first, second = ("logit", ours.logits, theirs.logits)
    if ours.probabilities is not None and theirs.probabilities is not None:
        scale, first, second = "probability", ours.probabilities, theirs.probabilities
    return {task: (scale, float((second[other, theirs.tasks.index(task)] - first[one, column]).mean()))
            for column, task in enumerate(ours.tasks) if task in theirs.tasks}
