"""The retriever's output: ads, how they were found, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.gates import Held
from index_store.live.snapshot import Snapshot
from index_store.live.withdrawals import Withdrawal
from index_store.search.explain import Explanation, PathStep
from index_store.search.exploration import Exploration
from index_store.search.ranking import SearchResult
from index_store.speculation.corrections import Corrections
from index_store.targeting.targeting import Refusal
from index_store.value.bids import Bid
from service.contract.query import HistoryCount, UserKind

CacheUse = Literal["local", "redis", "miss", "bypass"]
DegradedReason = Literal["redis", "deadline", "shard"]
Exclusion = Literal["exclude_ad_ids", "exclude_history"]


@dataclass(frozen=True)
class CacheLookup:
    """Result of a cache lookup: the embedding (1, Du) float32 or None, where it was found, and which levels failed.

    `corrections` is what the pairs of a foundation model add, where there are some of the user.
    """

    embedding: NDArray[np.float32] | None
    use: CacheUse
    degraded: tuple[DegradedReason, ...] = ()
    corrections: Corrections | None = None


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Seconds that each stage of one request took; the times of the levels are in its SearchResult.

    Attributes:
        began: when the first stage began, in seconds of `time.perf_counter()`; each other one begins as one ends.
        eligibility: the part of `search` that finds out which ads may be returned.
        scorer: the part of it within the ONNX graph.
    """

    began: float
    features: float
    cache: float
    queue: float
    user_tower: float
    search: float
    eligibility: float
    scorer: float


@dataclass(frozen=True)
class ContextEffect:
    """The score of an ad in the context of the request, and in an unknown one."""

    score: float
    without: float


@dataclass(frozen=True)
class AdExplanation:
    """What happened to the ad that a query asks about.

    Attributes:
        withdrawal: the change that keeps it from being eligible, if any.
        refusal: the clause of targeting that keeps it from being eligible, if any.
        held: why its campaign holds it back, if it does.
        excluded: the field of the query that excludes it, if any.
        propensity: probability that an answer to the request shows it; None if nothing is explored.
        context: what the context does to its score; None where the model reads none.
    """

    ad_id: str
    of_search: Explanation
    withdrawal: Withdrawal | None
    refusal: Refusal | None
    held: Held | None
    excluded: Exclusion | None
    propensity: float | None = None
    context: ContextEffect | None = None


@dataclass(frozen=True)
class Emptiness:
    """Why an answer has no ad.

    Attributes:
        by: what took the last ones: the ads themselves (none may be shown, or accepts the user), the request's
            targeting, their campaigns (budgets, pacing and frequency caps), its exclusions, or its floor.
        refusal: the part of the request's targeting that leaves the fewest by itself, if that is to blame.
        left: number of ads that are left without campaigns, exclusions and floor, or by that part alone.
    """

    by: Literal["ads", "request", "campaigns", "exclusions", "floor"]
    refusal: Refusal | None
    left: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The ads of one request and how they were found.

    Attributes:
        ad_ids: of the K ads that are returned, best first, but for those at the places that exploration gave away.
        found: the result of the search, without exploration.
        snapshot: the state of the ads that the whole request saw.
        history: counts of the inline history; None where the request gave none.
        ended: when the search thread was done, in seconds of `time.perf_counter()`.
        estimated_overlap: of this beam, by the bundle's curve; None where the curve does not hold it.
        bids: of the ads, where they are ranked by eCPM.
        probabilities: (K, tasks) float32 of the labels; None where the tasks were not trained on impressions.
        paths, explanation: there if the query asked for them.
        empty: why there is no ad, if there is none.
        exploration: what is returned instead of `found`; None if nothing is explored.
        unknown_context: the context fields that the model took for unknown.
        corrections: what the pairs of a foundation model added; None where none were known.
        rungs: ads that are returned by the rung of the ladder they were scored on; None if the bundle uses no pairs.
    """

    ad_ids: list[str]
    found: SearchResult
    snapshot: Snapshot
    user: UserKind
    history: HistoryCount | None
    user_cache: CacheUse
    degraded: tuple[DegradedReason, ...]
    times: StageTimes
    ended: float
    estimated_overlap: float | None
    bids: list[Bid | None] | None = None
    probabilities: NDArray[np.float32] | None = None
    paths: list[tuple[PathStep, ...]] | None = None
    explanation: AdExplanation | None = None
    empty: Emptiness | None = None
    exploration: Exploration | None = None
    unknown_context: tuple[str, ...] = ()
    corrections: Corrections | None = None
    rungs: Mapping[str, int] | None = None

    @property
    def shown(self) -> SearchResult:
        """The ads that are returned."""
        return self.found if self.exploration is None else self.exploration.shown
