"""Prometheus metrics of a service with several processes; docs/operations.md has a row for each.

Every process counts in its own part of shared memory; the worker that is scraped adds up the parts of all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values

from service.contract.answer import Answer, CacheUse, DegradedReason
from service.telemetry.shared_values import SharedValue, SharedValues

values.ValueClass = SharedValue  # for every metric that is made from here on
_SHARED = CollectorRegistry()
_SHARED.register(SharedValues())

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SHARES = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_OK = 200
_DIFFERENCES = (-1.0, -0.3, -0.1, -0.03, -0.01, -0.003, 0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

REQUESTS = Counter("retrieval_requests", "Requests by endpoint, HTTP status and error type (empty where none)",
                   ["endpoint", "status", "error_type"])
STAGE_SECONDS = Histogram("retrieval_stage_seconds", "Time of answered requests by stage, `total` included", ["stage"],
                          buckets=_BUCKETS)
LEVEL_SECONDS = Histogram("retrieval_level_seconds", "Time of the search by level of the tree", ["level"],
                          buckets=_BUCKETS)
PAIRS_SCORED = Counter("retrieval_pairs_scored", "Pairs of user and node or ad that were scored, by level", ["level"])
USER_CACHE = Counter("retrieval_user_cache", "Answered requests by where the user embedding came from", ["result"])
BAD_VALUES = Counter("retrieval_user_cache_bad_values", "Values in Redis that failed the layout or checksum test")
SPECULATED_ADS = Counter("retrieval_speculated_ads", "Returned ads by what the foundation model had said: `pair`, of "
                         "the ad; `user`, of others of the user; `nothing`; of bundles that use pairs", ["rung"])
SPECULATED_AGE = Histogram("retrieval_speculated_age_seconds", "Age of the pairs that an answer used",
                           buckets=(10, 60, 300, 900, 3_600, 14_400, 86_400))
SPECULATED_BAD_VALUES = Counter("retrieval_speculated_bad_values", "Pairs in Redis that failed the layout or checksum "
                                                                   "test")
DEGRADED = Counter("retrieval_degraded", "Answered requests that were degraded, by reason", ["reason"])
REDIS_FAILURES = Counter("retrieval_redis_failures", "Failed round trips to Redis, timeouts included",
                         ["operation", "reason"])
DROPPED_WRITES = Counter("retrieval_redis_dropped_writes", "Embeddings not written to Redis: no room, or paused")
REFUSED = Counter("retrieval_admission_refused", "Requests turned away before their search, by reason", ["reason"])
QUEUED = Gauge("retrieval_queue_length", "Requests now waiting for a search thread", multiprocess_mode="livesum")
QUEUE_LIMIT = Gauge("retrieval_queue_limit", "Requests that may wait for a search thread", multiprocess_mode="livesum")
SEARCH_THREADS = Gauge("retrieval_search_threads", "Threads that search", multiprocess_mode="livesum")
IN_FLIGHT = Gauge("retrieval_in_flight", "Requests for ads that are being answered now, those that wait included",
                  multiprocess_mode="livesum")
COVERAGE = Histogram("retrieval_coverage", "Share of the planned pairs that was scored", buckets=_SHARES)
SHARD_ANSWERS = Counter("retrieval_shard_answers", "Questions to shards by what became of them: `scored`, `late` or "
                        "`gone`", ["shard", "outcome"])
SHARD_SECONDS = Histogram("retrieval_shard_seconds", "Time from a question to a shard to its answer", ["shard"],
                          buckets=_BUCKETS)
SHARDS_MISSING = Gauge("retrieval_shards_missing", "Shards of open bundles that workers have no connection to",
                       multiprocess_mode="livesum")
EXPLORED = Counter("retrieval_explored", "Ads that were returned to be explored, in the place of others")
BUNDLE_ACTIVE = Gauge("retrieval_bundle_active", "Live workers that serve this bundle", ["bundle_id"],
                      multiprocess_mode="livesum")
BUNDLE_SWAPS = Counter("retrieval_bundle_swaps", "Switches of a worker to another bundle")
BUNDLE_REFUSED = Counter("retrieval_bundle_refused", "Refused bundles, by reason", ["reason"])
POINTER_MISMATCH = Gauge("retrieval_bundle_pointer_mismatch", "1 while a worker serves another bundle than the pointer "
                                                              "names, or the pointer cannot be read",
                         multiprocess_mode="livemax")
CANARY_SHARE = Gauge("retrieval_canary_share", "Share of the users whom a canary answers; 0 without one",
                     multiprocess_mode="livemax")
SIDE_REQUESTS = Counter("retrieval_side_requests", "Requests for ads while a canary runs, by the side of the user",
                        ["side", "bundle_id", "status", "error_type"])
SIDE_SECONDS = Histogram("retrieval_side_seconds", "Time of those that were answered", ["side", "bundle_id"],
                         buckets=_BUCKETS)
SIDE_DEGRADED = Counter("retrieval_side_degraded", "Those that were degraded, by reason",
                        ["side", "bundle_id", "reason"])
CANARY_FALLBACKS = Counter("retrieval_canary_fallbacks", "Requests of a canary's users that the current bundle "
                           "answered, because the canary refused them or failed", ["reason"])
TRIALS_DROPPED = Counter("retrieval_trials_dropped", "Bundles on trial that were dropped, by role and reason",
                         ["role", "reason"])
SHADOW_OVERLAP = Histogram("retrieval_shadow_overlap", "Share of the returned ads that the shadow shows too",
                           ["bundle_id", "beside"], buckets=(0.1, *_SHARES))
SHADOW_DRIFT = Histogram("retrieval_shadow_drift", "What the shadow says of the ads that both show less what was said "
                         "of them, the mean of each request, in probability or logits",
                         ["bundle_id", "beside", "task", "scale"], buckets=_DIFFERENCES)
SHADOW_SECONDS = Histogram("retrieval_shadow_seconds", "Processor time of compared requests in the shadow and in the "
                           "current bundle", ["bundle_id", "beside", "side"], buckets=_BUCKETS)
SHADOW_SKIPPED = Counter("retrieval_shadow_skipped", "Answers that were not compared with the shadow, by reason",
                         ["reason"])
SHADOW_CPU = Counter("retrieval_shadow_cpu_seconds", "Processor time that comparisons with the shadow took")
LIVE_OVERLAP = Histogram("retrieval_live_overlap", "Share of the exhaustive answer that sampled answers hold, by "
                         "whether a deadline narrowed the search, and what ranks",
                         ["bundle_id", "narrowed", "rank_by"], buckets=_SHARES)
QUALITY_SKIPPED = Counter("retrieval_quality_skipped", "Sampled answers not measured: one was already waiting")
CALIBRATION_PREDICTED = Counter("retrieval_calibration_predicted", "Labels that sampled impressions are expected to "
                                "get: the sum of their calibrated probabilities", ["bundle_id", "task"])
CALIBRATION_OBSERVED = Counter("retrieval_calibration_observed", "Labels that they got, as events",
                               ["bundle_id", "task"])
CALIBRATION_SKIPPED = Counter("retrieval_calibration_skipped", "Sampled impressions not measured: too many waited")
BEAMS_RECORDED = Counter("retrieval_beams_recorded", "Sampled requests whose beam was recorded")
BEAMS_DROPPED = Counter("retrieval_beams_dropped",
                        "Sampled requests whose beam was not recorded: too many were waiting")
BEAMS_FAILED = Counter("retrieval_beams_failed", "Beams that were lost: their search or their file failed")
CHANGES_APPLIED = Gauge("retrieval_changes_applied", "Sequence number of the last change that each worker has applied; "
                                                     "0 where none runs", ["worker"], multiprocess_mode="livesum")
CHANGES_UNREADABLE = Gauge("retrieval_changes_unreadable", "Workers that cannot read the change log now",
                           multiprocess_mode="livesum")
ADS_WITHDRAWN = Gauge("retrieval_ads_withdrawn", "Ads that are paused, deleted or unfit", multiprocess_mode="livemax")
ADS_ADDED = Gauge("retrieval_ads_added", "Ads that are returned and not in the bundle, or changed since",
                  multiprocess_mode="livemax")
ADS_UNFIT = Gauge("retrieval_ads_unfit", "Ads whose last change does not fit the bundle, and which are not returned",
                  multiprocess_mode="livemax")
LIVE_HISTORIES = Gauge("retrieval_live_histories", "Users whose clicks since the bundle are in memory",
                       multiprocess_mode="livemax")
CAMPAIGNS = Gauge("retrieval_campaigns", "Campaigns that have a budget", multiprocess_mode="livemax")
CAMPAIGNS_CLOSED = Gauge("retrieval_campaigns_closed", "Campaigns that have spent their budget of the day",
                         multiprocess_mode="livemax")
PASS_PROBABILITY = Gauge("retrieval_pass_probability", "Share of the requests that campaigns with budgets pass, the "
                         "mean over them", multiprocess_mode="livemax")
SPENT = Gauge("retrieval_spent_today", "What campaigns with budgets have spent in their day, in units of the currency",
              multiprocess_mode="livemax")
BUDGET = Gauge("retrieval_budget_today", "Their budgets of the day, in units of the currency",
               multiprocess_mode="livemax")
WRITES = Counter("retrieval_writes", "Changes and events that callers asked to write, by outcome", ["outcome"])
SPANS = Counter("retrieval_spans", "Spans of sampled requests, by what became of them", ["outcome"])
LOG_LINES_DROPPED = Counter("retrieval_log_lines_dropped", "Lines of the log that were lost: stderr took no more")

# Values that are known beforehand start at 0, so that the first event is a rise that an alert can see.
for _result in get_args(CacheUse):
    USER_CACHE.labels(_result)
for _rung in ("pair", "user", "nothing"):
    SPECULATED_ADS.labels(_rung)
for _operation in ("get", "set"):
    for _reason in ("authentication", "cluster", "other"):
        REDIS_FAILURES.labels(_operation, _reason)
for _reason in get_args(DegradedReason):
    DEGRADED.labels(_reason)
for _reason in ("overloaded", "deadline_unreachable", "client_gone"):
    REFUSED.labels(_reason)
for _reason in ("broken", "golden", "changes", "worse", "pointer", "check", "worker"):
    BUNDLE_REFUSED.labels(_reason)
for _reason in ("refused", "failed"):
    CANARY_FALLBACKS.labels(_reason)
for _role in ("canary", "shadow"):
    for _reason in ("broken", "golden", "changes", "fields", "worse", "check", "worker"):
        TRIALS_DROPPED.labels(_role, _reason)
for _reason in ("busy", "refused", "failed"):
    SHADOW_SKIPPED.labels(_reason)
for _outcome in ("written", "refused", "unavailable", "not_applied"):
    WRITES.labels(_outcome)
for _outcome in ("exported", "failed", "dropped"):
    SPANS.labels(_outcome)

# A label is looked up once and not with every request: half of what counting it costs.
_STAGE = {stage: STAGE_SECONDS.labels(stage)
          for stage in ("total", "queue", "features", "cache", "user_tower", "search", "scorer")}


@cache
def _level(level: int) -> tuple[Histogram, Counter]:
    return LEVEL_SECONDS.labels(str(level)), PAIRS_SCORED.labels(str(level))


def observe(answer: Answer, total: float) -> None:
    """Counts an answered request; `total` in seconds."""
    times = answer.times
    for stage, histogram in _STAGE.items():
        histogram.observe(total if stage == "total" else getattr(times, stage))
    for trace in answer.found.levels:
        seconds, pairs = _level(trace.level)
        seconds.observe(trace.seconds)
        pairs.inc(trace.scored)
    COVERAGE.observe(answer.found.coverage)
    USER_CACHE.labels(answer.user_cache).inc()
    for rung, ads in (answer.rungs or {}).items():
        SPECULATED_ADS.labels(rung).inc(ads)
    if answer.corrections is not None:
        SPECULATED_AGE.observe(max(0.0, time.time() - answer.corrections.made_at))
    if answer.exploration is not None:
        EXPLORED.inc(int(answer.exploration.explored.sum()))
    for reason in answer.degraded:
        DEGRADED.labels(reason).inc()


def observe_side(labels: tuple[str, str], status: int, error_type: str, total: float,
                 degraded: Iterable[str] = ()) -> None:
    """Counts a request for ads while a canary runs.

    Args:
        labels: its side and the id of the bundle that answered.
        status, error_type: of its reply.
        total: in seconds.
        degraded: what an answer had to do without.
    """
    SIDE_REQUESTS.labels(*labels, str(status), error_type).inc()
    if status == _OK:
        SIDE_SECONDS.labels(*labels).observe(total)
    for reason in degraded:
        SIDE_DEGRADED.labels(*labels, reason).inc()


def render() -> bytes:
    """The metrics of all processes in Prometheus' text format."""
    return generate_latest(_SHARED)


def samples() -> Iterator[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of the metrics of all processes, as `render` writes them."""
    for family in _SHARED.collect():
        for sample in family.samples:
            yield sample.name, dict(sample.labels), sample.value
