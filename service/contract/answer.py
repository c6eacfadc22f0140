"""What a retriever answers, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.search.explain import Explanation, PathStep
from index_store.search.ranking import SearchResult
from index_store.targeting.targeting import Refusal
from service.contract.query import UserKind

CacheUse = Literal["local", "redis", "miss", "bypass"]
DegradedReason = Literal["redis", "deadline"]


@dataclass(frozen=True)
class CacheLookup:
    """What the cache knew: the embedding (1, Du) float32 or None, where it was, and which levels failed."""

    embedding: NDArray[np.float32] | None
    use: CacheUse
    degraded: tuple[DegradedReason, ...] = ()


@dataclass(frozen=True)
class StageTimes:
    """Seconds that each stage of one request took; the levels' are in its SearchResult."""

    features: float
    cache: float
    queue: float
    user_tower: float
    search: float
    scorer: float


@dataclass(frozen=True)
class AdExplanation:
    """What became of the ad that a query named; `refusal` is set where targeting says no, `excluded` by the query."""

    ad_id: str
    of_search: Explanation
    refusal: Refusal | None
    excluded: bool


@dataclass(frozen=True)
class Answer:
    """The ads of one request and how they were found; ads, scores (K,) and logits (K, tasks) best first.

    `estimated_overlap` is what the bundle's curve says of the beam, None where it says nothing; `paths` and
    `explanation` are there if the query asked for them.
    """

    ad_ids: list[str]
    found: SearchResult
    user: UserKind
    user_cache: CacheUse
    degraded: tuple[DegradedReason, ...]
    times: StageTimes
    estimated_overlap: float | None
    paths: list[tuple[PathStep, ...]] | None = None
    explanation: AdExplanation | None = None
