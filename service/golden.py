"""Replays the golden requests of a bundle: does this machine give the answers that the offline job sealed?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from service.parsing import UNLIMITED, parse_request, to_query
from service.retriever import Answer, Retriever

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Replay:
    """One golden request: its number from 1, the largest difference of a score, and what is wrong, if anything."""

    number: int
    ads: int
    difference: float
    problem: str | None


async def replay(retriever: Retriever) -> AsyncIterator[Replay]:
    """Answers each golden request, without the cache, and compares.

    Raises:
        ServiceError, FeatureError: a golden request is none that this service accepts.
    """
    for number, golden in enumerate(retriever.bundle.golden, start=1):
        query = to_query(parse_request(golden["request"]), retriever.bundle.manifest, UNLIMITED)
        answer = await retriever.retrieve(query, use_cache=False)
        yield _compare(number, golden["ads"], answer)


def _compare(number: int, expected: list[dict[str, Any]], answer: Answer) -> Replay:
    scores = answer.found.scores.tolist()
    if len(scores) != len(expected):
        return Replay(number, len(scores), 0.0, f"returns {len(scores)} ads, golden.json has {len(expected)}")
    differences = [abs(score - ad["score"]) for score, ad in zip(scores, expected, strict=True)]
    largest = max(differences, default=0.0)
    if not largest <= TOLERANCE:
        rank = differences.index(largest)
        return Replay(number, len(scores), largest, f"scores {scores[rank]:.6f} at rank {rank + 1}, golden.json says "
                                                    f"{expected[rank]['score']:.6f}; at most {TOLERANCE} apart is fine")
    names = {ad["ad_id"] for ad in expected}
    for ad_id, score in zip(answer.ad_ids, scores, strict=True):
        # Two ads of one score may change places with the first ad that golden.json left out.
        if ad_id not in names and abs(score - expected[-1]["score"]) > TOLERANCE:
            return Replay(number, len(scores), largest, f"returns ad {ad_id} with score {score:.6f}, which golden.json "
                                                        "does not list")
    return Replay(number, len(scores), largest, None)
