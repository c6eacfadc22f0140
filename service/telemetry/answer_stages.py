"""The stages of an answered request as its trace tells them, from the times and counts that the answer has anyway."""

from __future__ import annotations

import time
from itertools import accumulate

from index_store.search.trace import LevelTrace
from service.contract.answer import Answer
from service.contract.query import Query
from service.telemetry.request_trace import Attribute, RequestTrace, Stage

PREFIX = "retrieval"
"""Of the attributes that OpenTelemetry has no name for."""

_CACHED = ("local", "redis")


def tell_query(trace: RequestTrace, query: Query, bundle_id: str) -> None:
    """Adds to the trace of a request what it asks for, once it has been parsed, and the bundle that is to answer."""
    trace.stage("parse")
    trace.attributes |= {f"{PREFIX}.bundle_id": bundle_id, f"{PREFIX}.top_k": query.top_k}


def tell_answer(trace: RequestTrace, answer: Answer, answer_by: float | None) -> None:
    """Adds the stages of an answer and its attributes to the trace of its request.

    Args:
        trace: of the request.
        answer: to it.
        answer_by: its deadline, in seconds of `time.perf_counter()`; None for none.
    """
    found, stages = answer.found, _stages(answer)
    trace.stages += stages
    trace.replying = stages[-1].ended
    trace.attributes |= {
        f"{PREFIX}.ads": len(answer.ad_ids), f"{PREFIX}.user": answer.user, f"{PREFIX}.degraded": answer.degraded,
        f"{PREFIX}.eligible": found.eligible, f"{PREFIX}.pairs_scored": found.pairs_scored,
        f"{PREFIX}.coverage": found.coverage}
    if answer_by is not None:
        trace.attributes[f"{PREFIX}.deadline_left_ms"] = round((answer_by - time.perf_counter()) * 1000, 3)


def _stages(answer: Answer) -> list[Stage]:
    """Those that took place: no user tower ran for a cached embedding, and nothing was looked up without a cache."""
    times, found = answer.times, answer.found
    ends = accumulate((times.features, times.cache, times.queue, times.user_tower, times.search), initial=times.began)
    began, encoded, looked_up, taken, embedded, searched = ends
    stages = [Stage("features", began, encoded)]
    if answer.user_cache != "bypass":
        stages.append(Stage("cache", encoded, looked_up, {f"{PREFIX}.user_cache": answer.user_cache}))
    stages.append(Stage("queue", looked_up, taken))
    if answer.user_cache not in _CACHED:
        stages.append(Stage("user_tower", taken, embedded))
    eligibility = Stage("eligibility", embedded, embedded + times.eligibility, {f"{PREFIX}.eligible": found.eligible})
    stages.append(Stage("search", embedded, searched, {f"{PREFIX}.scorer_ms": round(times.scorer * 1000, 3)},
                        (eligibility, *map(_level, found.levels))))
    return stages


def _level(level: LevelTrace) -> Stage:
    counts: dict[str, Attribute] = {
        f"{PREFIX}.level": level.level, f"{PREFIX}.candidates": level.candidates,
        f"{PREFIX}.pairs_scored": level.scored, f"{PREFIX}.kept": level.kept,
        f"{PREFIX}.pruned": level.candidates - level.kept, f"{PREFIX}.width": level.width}
    return Stage(f"level {level.level}", level.began, level.began + level.seconds, counts)
