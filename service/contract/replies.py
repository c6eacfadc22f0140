"""Bodies and headers of answers, built as plain dicts, which is faster than the schemas that document them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Any

import orjson

from index_store.bundle.manifest import Manifest
from index_store.search.explain import as_json
from index_store.targeting.predicates import to_json
from service.contract.answer import AdExplanation, Answer, Emptiness


def latency(answer: Answer, total: float) -> dict[str, Any]:
    """The stage times in milliseconds; `total` in seconds."""
    times = answer.times
    stages: dict[str, Any] = {
        name: round(seconds * 1000, 3)
        for name, seconds in (("total", total), ("queue", times.queue), ("features", times.features),
                              ("cache", times.cache), ("user_tower", times.user_tower), ("search", times.search),
                              ("scorer", times.scorer))}
    stages["levels"] = [{"level": trace.level, "candidates": trace.candidates, "scored": trace.scored,
                         "ms": round(trace.seconds * 1000, 3)} for trace in answer.found.levels]
    return stages


def server_timing(stages: Mapping[str, Any]) -> str:
    """The same times as a Server-Timing header; level n is named `level_n`."""
    parts = [f"{name};dur={ms}" for name, ms in stages.items() if name != "levels"]
    return ", ".join(parts + [f"level_{level['level']};dur={level['ms']}" for level in stages["levels"]])


def reply_body(answer: Answer, manifest: Manifest, request_id: str, stages: Mapping[str, Any]) -> bytes:
    """The JSON of a RetrieveReply."""
    # A numpy float32 is written with its own digits, half as many as those of the same float64.
    ads: list[dict[str, Any]] = [{"ad_id": ad, "score": score}
                                 for ad, score in zip(answer.ad_ids, answer.shown.scores, strict=True)]
    if answer.probabilities is not None:
        # A strict zip for each ad would double the time of the whole reply.
        by_task = map(dict, map(zip, repeat(manifest.tasks), answer.probabilities))
        for ad, values in zip(ads, by_task, strict=True):
            ad["probabilities"] = values
    if answer.bids is not None and answer.shown.ecpm is not None:
        for ad, ecpm, bid in zip(ads, answer.shown.ecpm, answer.bids, strict=True):
            ad["ecpm"], ad["bid"] = ecpm, bid
    if answer.exploration is not None:
        for ad, propensity, explored in zip(ads, answer.exploration.propensities, answer.exploration.explored,
                                            strict=True):
            ad["propensity"] = propensity
            if explored:
                ad["explored"] = True
    for ad, path in zip(ads, answer.paths or (), strict=False):
        ad["path"] = as_json(path)
    return orjson.dumps(
        {"request_id": request_id, "bundle_id": manifest.bundle_id, "as_of": answer.snapshot.as_of, "ads": ads,
         "user": answer.user,
         "history": answer.history, "unknown_context": answer.unknown_context, "user_cache": answer.user_cache,
         "coverage": answer.found.coverage,
         "estimated_overlap": answer.estimated_overlap, "degraded": answer.degraded,
         "eligible": answer.found.eligible, "empty": _empty(answer.empty),
         "pairs_scored": answer.found.pairs_scored, "latency_ms": stages}, option=orjson.OPT_SERIALIZE_NUMPY)


def _empty(empty: Emptiness | None) -> dict[str, Any] | None:
    """An EmptyBecause."""
    if empty is None:
        return None
    refusal = empty.refusal
    return {"by": empty.by, "path": None if refusal is None else refusal.path,
            "clause": None if refusal is None else to_json(refusal.clause), "left": empty.left}


def explanation_body(explained: AdExplanation, answer: Answer, manifest: Manifest, request_id: str) -> bytes:
    """The JSON of an ExplainReply."""
    of_search = explained.of_search
    path = as_json(of_search.path)
    decided = path[-1] if path else {}
    return orjson.dumps(
        {"request_id": request_id, "bundle_id": manifest.bundle_id, "as_of": answer.snapshot.as_of,
         "ad_id": explained.ad_id,
         "outcome": of_search.outcome, "eligible": of_search.outcome != "filtered",
         "refused_by": refused_by(explained),
         **{name: decided.get(name) for name in ("level", "score", "ecpm", "rank", "margin")},
         "kth_score": of_search.kth_score, "kth_ecpm": of_search.kth_ecpm, "propensity": explained.propensity,
         "context": explained.context, "path": path, "user": answer.user, "history": answer.history,
         "coverage": answer.found.coverage, "degraded": answer.degraded})


def refused_by(explained: AdExplanation) -> dict[str, Any] | None:
    """The first thing that keeps the ad from being eligible, or its cap; a RefusedBy."""
    withdrawal, refusal, held = explained.withdrawal, explained.refusal, explained.held
    found: dict[str, Any] = {"clause": None, "version": None, "campaign": None, "until": None, "probability": None}
    if withdrawal is not None:
        return found | {"by": withdrawal.status, "path": "status", "version": withdrawal.version}
    if refusal is not None:
        return found | {"by": refusal.by, "path": refusal.path, "clause": to_json(refusal.clause)}
    if held is not None:
        return found | {"by": held.by, "path": "campaign", "campaign": held.campaign, "until": held.until,
                        "probability": held.probability}
    if explained.excluded is not None:
        return found | {"by": explained.excluded, "path": explained.excluded}
    if explained.of_search.cap is not None:
        return found | {"by": "max_per", "path": f"max_per.{explained.of_search.cap}"}
    return None
