"""Golden requests: compares this machine's answers with those that the offline job sealed into the bundle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from index_store.bundle.graphs import score_gaps, score_tolerance
from service.contract.answer import Answer
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.contract.query import Query
from service.retrieval.retriever import Retriever


@dataclass(frozen=True)
class Replay:
    """One golden request: its number from 1, the number of ads returned, the largest of the score gaps, any problem."""

    number: int
    ads: int
    difference: float
    problem: str | None


async def replay(retriever: Retriever) -> AsyncIterator[Replay]:
    """Answers each golden request by exhaustive search, without the cache, and compares.

    Raises:
        ServiceError, FeatureError: this service refuses a golden request.
    """
    allowed = score_tolerance(retriever.bundle.content.embeddings[-1])
    for number, golden in enumerate(retriever.bundle.golden, start=1):
        answer = await retriever.retrieve(_query(retriever, golden), use_cache=False)
        yield _compare(number, golden["ads"], answer, allowed)


async def warm_up(retriever: Retriever) -> AsyncIterator[Replay]:
    """Answers each golden request through the beam, and scores the ads that its exhaustive answer lists.

    A service must be ready in seconds however many ads it has, so this does not score them all, as `replay` does.

    Raises:
        ServiceError, FeatureError: this service refuses a golden request.
    """
    allowed = score_tolerance(retriever.bundle.content.embeddings[-1])
    for number, golden in enumerate(retriever.bundle.golden, start=1):
        query = replace(_query(retriever, golden), exact=False)
        await retriever.retrieve(query, use_cache=False)
        scores = retriever.score_ads(query, [ad["ad_id"] for ad in golden["ads"]])
        yield _differences(number, golden["ads"], scores.tolist(), allowed)


def _query(retriever: Retriever, golden: dict[str, Any]) -> Query:
    return to_query(parse_request(golden["request"]), retriever.bundle.manifest, UNLIMITED)


def _differences(number: int, expected: list[dict[str, Any]], scores: list[float], allowed: float) -> Replay:
    differences = score_gaps(scores, [ad["score"] for ad in expected]).tolist()
    largest = max(differences, default=0.0)
    if all(difference <= allowed for difference in differences):  # false where one is NaN
        return Replay(number, len(scores), largest, None)
    rank = next(at for at, difference in enumerate(differences) if not difference <= allowed)
    return Replay(number, len(scores), largest, f"scores {scores[rank]:.6f} at rank {rank + 1}, golden.json says "
                                                f"{expected[rank]['score']:.6f}; at most {allowed} apart is allowed")


def _compare(number: int, expected: list[dict[str, Any]], answer: Answer, allowed: float) -> Replay:
    scores = answer.found.scores.tolist()
    if len(scores) != len(expected):
        return Replay(number, len(scores), 0.0, f"returns {len(scores)} ads, golden.json has {len(expected)}")
    found = _differences(number, expected, scores, allowed)
    if found.problem:
        return found
    names = {ad["ad_id"] for ad in expected}
    for ad_id, score in zip(answer.ad_ids, scores, strict=True):
        # Two ads of one score may change places with the first ad that golden.json left out.
        if ad_id not in names and score_gaps(score, expected[-1]["score"]) > allowed:
            return Replay(number, len(scores), found.difference, f"returns ad {ad_id} with score {score:.6f}, which "
                                                                 "golden.json does not list")
    return found
