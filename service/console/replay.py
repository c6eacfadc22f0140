"""Replay: recent requests of a worker, searched again to see what they do in the tree or with one ad."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from index_store.declaration.values import FeatureError
from index_store.live.snapshot import Snapshot
from index_store.targeting.eligibility import Eligible
from index_store.targeting.predicates import PredicateError
from service.contract.answer import Answer
from service.contract.errors import ServiceError
from service.contract.parsing import UNLIMITED, parse_body, to_query
from service.retrieval.retriever import Retriever
from service.retrieval.search_queue import SearchQueue

SECONDS = 2.0
"""Time after which no further request is begun."""


@dataclass(frozen=True)
class Replayed:
    """A request that was searched again: its traced answer, and what might be returned to it; None for all."""

    answer: Answer
    eligible: Eligible | None


async def replayed(retriever: Retriever, snapshot: Snapshot, bodies: Sequence[bytes],
                   queue: Callable[[], SearchQueue], ad_id: str | None = None) -> list[Replayed]:
    """Searches for recent requests again, one after the other, through the tree and without a deadline.

    Args:
        retriever: of the bundle.
        snapshot: that all of them see.
        bodies: of the requests; those that the bundle refuses are left out.
        queue: in which a search waits for its turn among the requests of others.
        ad_id: the ad that each is to explain; None for none.

    Raises:
        ServiceError: there is no room in the queue.
    """
    found, end = [], time.perf_counter() + SECONDS
    for body in bodies:
        if time.perf_counter() >= end:
            break
        with suppress(FeatureError, PredicateError):
            try:
                asked = to_query(parse_body(body), retriever.bundle.manifest, UNLIMITED)
            except ServiceError:  # another bundle has answered it
                continue
            query = replace(asked, exact=False, explain=True, explain_ad=ad_id, timeout_ms=None)
            answer = await retriever.retrieve(query, snapshot=snapshot, use_cache=False, queue=queue())
            user = retriever.encode(query, snapshot)
            found.append(Replayed(answer, retriever.eligible(user, retriever.excluded(query, user, snapshot),
                                                             snapshot)))
    return found
