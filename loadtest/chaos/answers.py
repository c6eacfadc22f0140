"""Requests and each bundle's answers to them, to check that a reply is complete and comes from one bundle.

The expected answers are computed in this process by the retriever alone, without caches, Redis or another bundle.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from index_store.bundle.bundle import Bundle
from index_store.bundle.graphs import SCORE_TOLERANCE
from loadtest.http.client import post
from service.contract.parsing import UNLIMITED, parse_body, to_query
from service.retrieval.retriever import Retriever

TOP_K = 10
_KNOWN_SHARE = 0.7


class SameAnswersError(Exception):
    """Two bundles give the same answer, so a reply that mixed them would go unnoticed."""


@dataclass(frozen=True)
class Expected:
    """The ads of an answer, best first, and their scores."""

    ads: list[str]
    scores: list[float]

    def problem(self, reply: Mapping[str, Any]) -> str | None:
        """What is wrong with a reply; None if nothing is."""
        ads, scores = [ad["ad_id"] for ad in reply["ads"]], [ad["score"] for ad in reply["ads"]]
        if ads != self.ads:
            return f"has the ads {ads[:3]}…, {self.ads[:3]}… were expected"
        if not np.allclose(scores, self.scores, rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE):
            return f"has the scores {scores[:3]}…, {self.scores[:3]}… were expected"
        return None

    def problem_without_a_shard(self, reply: Mapping[str, Any]) -> str | None:
        """As `problem`, of a reply without a shard's ads: those that it shares with the answer have its scores."""
        scores = dict(zip(self.ads, self.scores, strict=True))
        shared = [ad for ad in reply["ads"] if ad["ad_id"] in scores]
        if not np.allclose([ad["score"] for ad in shared], [scores[ad["ad_id"]] for ad in shared],
                           rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE):
            return f"has other scores than were expected of the ads {[ad['ad_id'] for ad in shared][:3]}…"
        return None


class Answers:
    """Requests, and each bundle's answers.

    Args:
        bundles: folders; requests are for users and ads of the first one.
        requests: number of distinct requests.

    Attributes:
        requests: complete HTTP requests, most of them for known users; others for an unknown user, with an inline
            history, with excluded ads or with targeting.
        bundle_ids: of the bundles, in their order.

    Raises:
        SameAnswersError: two bundles give the same answer to a request.
        BundleError: a bundle cannot be opened.
    """

    def __init__(self, bundles: Sequence[Path], requests: int = 100) -> None:
        opened = [Bundle.open(folder) for folder in bundles]
        bodies = _bodies(opened[0], requests)
        self.requests = [post("/retrieve", body, "replica") for body in bodies]
        self.bundle_ids = [one.bundle_id for one in opened]
        expected = [dict(zip(self.requests, asyncio.run(_answers(one, bodies)), strict=True)) for one in opened]
        self._expected = dict(zip(self.bundle_ids, expected, strict=True))
        for other in expected[1:]:
            alike = sum(expected[0][request] == other[request] for request in self.requests)
            if alike:
                raise SameAnswersError(f"{alike} of {requests} requests have the same answer in both bundles; give two "
                                       "that were trained separately")

    def served_as(self, ids: Sequence[str]) -> Self:
        """The same answers, of bundles that bear other ids: roots that were made of them."""
        other = copy(self)
        other._expected = dict(zip(ids, self._expected.values(), strict=True))
        other.bundle_ids = list(ids)
        return other

    def problem(self, request: bytes, reply: Mapping[str, Any]) -> str | None:
        """What is wrong with a reply; it must be the answer of the bundle that it names."""
        if "deadline" in reply["degraded"]:
            return None  # cut short, as the request allowed
        of_bundle = self._expected.get(reply["bundle_id"])
        if of_bundle is None:
            return f"names the bundle {reply['bundle_id']}, {' or '.join(self._expected)} was expected"
        expected = of_bundle[request]
        problem = expected.problem_without_a_shard(reply) if "shard" in reply["degraded"] else expected.problem(reply)
        return problem and f"of bundle {reply['bundle_id']} {problem}"


async def _answers(opened: Bundle, bodies: Sequence[bytes]) -> list[Expected]:
    retriever = Retriever(opened)
    try:
        found = [await retriever.retrieve(to_query(parse_body(body), opened.manifest, UNLIMITED)) for body in bodies]
    finally:
        retriever.close()
    return [Expected(list(answer.ad_ids), [float(score) for score in answer.found.scores]) for answer in found]


def _bodies(opened: Bundle, count: int) -> list[bytes]:
    random = np.random.default_rng(0)
    users = [user.decode() for user in random.permutation(opened.content.users.ids)]
    ads = [ad.decode() for ad in random.permutation(opened.content.encoder.item_ids)]
    kinds: list[dict[str, Any]] = [
        {"user_id": "stranger"},
        {"user_id": users[0], "user_features": {"history": ads[:5]}},
        {"user_id": users[1], "exclude_ad_ids": ads[:50]},
        {"user_id": users[2], "targeting": {"not": {"field": "ad_id", "in": ads[50:100]}}}]
    known = [{"user_id": users[n % len(users)], "top_k": TOP_K + n // len(users)}
             for n in range(round(_KNOWN_SHARE * count))]
    others = [{**kinds[n % len(kinds)], "top_k": TOP_K + n} for n in range(count - len(known))]
    bodies = [*known, *others]
    return [json.dumps({"top_k": TOP_K, **bodies[n]}).encode() for n in random.permutation(count)]
