"""Schemas of request and reply bodies.

Requests are validated by them. Replies are built as plain dicts for speed; their schemas document them, and the tests
compare real replies with them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.contract.ad_schemas import AdBid

Positive = Annotated[int, Field(ge=1)]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Explored = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]
# Small enough that no score overflows float32.
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


AS_OF = "sequence number of the last change of ads and users that the answer takes into account; 0 if there was none"


class RetrieveRequest(BaseModel):
    """Body of POST /retrieve. A field that is null counts as absent; an unlisted field is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: str | int | None = Field(
        default=None,
        description="id of the user, text of 1 to 128 bytes or an integer; an unknown one is answered too; may be left "
                    "out if there are user_features, which then say all that is known")
    top_k: Positive | None = Field(
        default=None,
        description="ads to return, an integer from 1 to limits.max_top_k of GET /info; default: the bundle's")
    user_features: dict[str, Any] | None = Field(
        default=None,
        description="an object of user features that replace the stored ones field by field, and `history`, a list of "
                    "ad ids, most recent first; GET /info lists the features")
    beam_width: Positive | list[Positive] | None = Field(
        default=None,
        description="nodes to keep at each level above the ads, an integer from 1 to limits.max_beam_width of "
                    "GET /info, or a list with one per level; default: the bundle's")
    target_overlap: Share | None = Field(
        default=None,
        description="share of the exhaustive answer that the beam should find on average, above 0 up to 1: picks the "
                    "beam from the bundle's curve; not together with beam_width, budget_ms or exact")
    budget_ms: PositiveNumber | None = Field(
        default=None,
        description="processing time in milliseconds, above 0, excluding time in the queue: picks the widest beam of "
                    "the bundle's curve that fits; not together with beam_width, target_overlap or exact")
    timeout_ms: PositiveNumber | None = Field(
        default=None,
        description="deadline in milliseconds from the arrival of the request, at least limits.min_timeout_ms of "
                    "GET /info: the search narrows to meet it; default: the service's")
    rank_by: Literal["score", "ecpm"] = Field(
        default="score",
        description="score, or ecpm: what the ads are expected to pay for a thousand impressions, by their bids and "
                    "the bundle's calibrated probabilities; default: score")
    floor: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="least eCPM of a returned ad, an integer in micros (millionths of a unit of the currency) of at "
                    "least 0; only with rank_by ecpm; default: none")
    max_per: dict[str, Positive] | None = Field(
        default=None,
        description="an object of categorical ad field, or role of one (advertiser, campaign) -> most ads of the same "
                    "value in the answer, an integer of at least 1; default: none")
    explore: Explored | None = Field(
        default=None,
        description="share of the places of the answer that go to ads with few impressions, a number from 0 to 0.5, "
                    "drawn by the request id; not above 0 together with exact; default: the service's, none for exact")
    explain: bool = Field(default=False, description="true adds to each ad its path through the tree")
    exact: bool = Field(default=False,
                        description="true scores every ad instead of searching the tree: slow, the ground truth")
    task_weights: dict[str, Weight] | None = Field(
        default=None,
        description="an object of task name -> weight, a number from 0 to 1000000, at least one above 0; tasks that it "
                    "leaves out weigh 0; default: 1 for the first task")
    targeting: dict[str, Any] | None = Field(
        default=None,
        description='an object, a predicate over ad fields that every returned ad satisfies, such as {"field": '
                    '"category", "in": ["shoes"]}; docs/service.md has the grammar, GET /info lists the ad fields')
    context: dict[str, Any] | None = Field(
        default=None,
        description="an object of context fields that the ads' own predicates or the model read; GET /info lists "
                    "them")
    exclude_history: bool | None = Field(
        default=None,
        description="true leaves out the ads of the user's history, all that the bundle and the change log know or "
                    "those of user_features; default: as the log was declared, see docs/data.md")
    exclude_ad_ids: list[str | int] | None = Field(
        default=None,
        description="a list of ad ids (text or integers) that must not be returned; unknown ids are ignored")


class ExplainRequest(RetrieveRequest):
    """Body of POST /explain: a request, and the ad to explain."""

    ad_id: str | int = Field(description="id of an ad of the bundle, text or an integer")


class PathLevel(BaseModel):
    """An ad's node at one level of the tree."""

    model_config = ConfigDict(extra="forbid")

    level: int
    node: int = Field(description="number within its level; at the last level the ad's position")
    score: float | None = Field(description="null if it was not scored: all candidates fitted into the beam, or the "
                                            "level was not reached")
    rank: int | None = Field(description="from 1, among the candidates that were scored")
    margin: float | None = Field(description="distance to the best candidate that was dropped, or to the lowest that "
                                             "was kept, in score or eCPM, whichever ranks")
    ecpm: float | None = Field(description="in micros, of the ad or promised by its node; null where the score ranks")


class Ad(BaseModel):
    """One ad of the answer."""

    model_config = ConfigDict(extra="forbid")

    ad_id: str
    score: float = Field(description="sum over tasks of weight x logit")
    probabilities: dict[str, float] | None = Field(
        default=None, description="task -> probability of an impression's label, calibrated if the bundle is; only if "
                                  "the tasks were trained on impressions")
    ecpm: float | None = Field(
        default=None, description="what it is expected to pay for a thousand impressions, in micros, 0 without a bid; "
                                  "only with rank_by ecpm")
    bid: AdBid | None = Field(default=None, description="that this is made of; only with rank_by ecpm")
    propensity: float | None = Field(
        default=None, description="probability that an answer to this request shows the ad; only if the request "
                                  "explores")
    explored: bool | None = Field(default=None, description="true if it has the place of an ad that ranks there, to be "
                                                            "explored; absent otherwise")
    path: list[PathLevel] | None = Field(default=None, description="only if the request sets `explain`")


class Level(BaseModel):
    """What the search did at one level of the tree."""

    model_config = ConfigDict(extra="forbid")

    level: int = Field(description="1 is the coarsest, the last holds the ads")
    candidates: int
    scored: int = Field(description="0 if all candidates fit into the beam")
    ms: float


class Latency(BaseModel):
    """Where the time went, in milliseconds."""

    model_config = ConfigDict(extra="forbid")

    total: float = Field(description="from the request's headers to the finished answer, before it is sent")
    queue: float = Field(description="waiting for a free search thread")
    features: float = Field(description="encoding the user's features and the excluded ids")
    cache: float = Field(description="asking the user caches")
    user_tower: float
    search: float
    scorer: float = Field(description="the part of `search` within the scorer: its graph, or the compiled kernel")
    levels: list[Level]


class HistoryCount(BaseModel):
    """How many ids of the inline history the bundle knows, and how many it does not; the latter count for nothing."""

    model_config = ConfigDict(extra="forbid")

    known: int = Field(description="ids that the bundle has")
    unknown: int = Field(description="ids that the bundle does not have; a history of only these is answered like none")


class EmptyBecause(BaseModel):
    """Why an answer has no ad."""

    model_config = ConfigDict(extra="forbid")

    by: Literal["ads", "request", "campaigns", "exclusions", "floor"] = Field(
        description="ads: none may be shown, or accepts the user and context; request: its targeting; campaigns: "
                    "budgets, pacing and frequency caps; exclusions: exclude_ad_ids and exclude_history; floor: all "
                    "promise less")
    path: str | None = Field(description="of the part of the request's targeting that leaves the fewest ads by itself, "
                                         "such as targeting.all[1]; null unless `by` is request")
    clause: dict[str, Any] | None = Field(description="that part itself")
    left: int = Field(description="number of ads that are left without campaigns, exclusions and floor, or by that "
                                  "part alone")


class RetrieveReply(BaseModel):
    """Answer of POST /retrieve."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    bundle_id: str
    as_of: int = Field(description=AS_OF)
    ads: list[Ad] = Field(description="best first, but for explored ones; min(top_k, eligible), or what max_per and "
                                      "floor leave of them")
    user: Literal["known", "inline", "unknown"]
    history: HistoryCount | None = Field(description="of the history in user_features; null if the request has none")
    unknown_context: list[str] = Field(description="the fields of model_context that count as unknown: the request "
                                                   "leaves them out, or no event of the log had their value")
    user_cache: Literal["local", "redis", "miss", "bypass"]
    coverage: float = Field(description="share of the planned pairs that was scored; below 1 only under a deadline, or "
                                        "if a shard is gone or late")
    estimated_overlap: float | None = Field(
        description="share of the exhaustive answer that this beam finds on average, by the bundle's curve; null if "
                    "the beam is not on the curve, under targeting or max_per, and where campaigns hold ads back; 1 "
                    "for exact")
    degraded: list[Literal["redis", "deadline", "shard"]] = Field(
        description="what the answer had to do without: Redis, pairs that did not fit before the deadline, or "
                    "those of a shard that is gone or late")
    eligible: int = Field(description="number of ads that are neither paused nor deleted, pass targeting and "
                                      "exclusions, and are not held back by their campaigns")
    empty: EmptyBecause | None = Field(description="why `ads` is empty; null if it is not, or a deadline or "
                                                           "a missing shard emptied it")
    pairs_scored: int
    latency_ms: Latency


class RefusedBy(BaseModel):
    """What keeps an ad from being eligible, or the cap that keeps it from the answer."""

    model_config = ConfigDict(extra="forbid")

    by: Literal["paused", "deleted", "unfit", "ad", "request", "budget", "pacing", "frequency_cap", "no_change_log",
                "exclude_ad_ids", "exclude_history", "max_per"] = Field(
        description="the ad's status, whose predicate rejects it, its campaign (its budget of the day is spent, it is "
                    "paced and this request not among those that pass, the user has seen it often enough, or nobody "
                    "knows what it spends), or the request's exclusions or caps")
    path: str = Field(description="of the clause in that predicate, such as targeting.all[1], or of the cap, such as "
                                  "max_per.advertiser; campaign if that holds it back")
    clause: dict[str, Any] | None = Field(description="the clause itself; null unless a predicate rejects the ad")
    version: int | None = Field(description="of the ad, since it is paused, deleted or unfit; null otherwise")
    campaign: str | None = Field(description="that holds the ad back; null if none does")
    until: float | None = Field(description="when that ends, in seconds since 1970: a new day for a budget, another "
                                            "choice for pacing; null otherwise")
    probability: float | None = Field(description="share of the requests that pass, if by is pacing; null otherwise")


class ContextEffect(BaseModel):
    """What the context of the request does to an ad's score."""

    model_config = ConfigDict(extra="forbid")

    score: float = Field(description="of the ad in the request's context")
    without: float = Field(description="of the ad if the request named no context")


class ExplainReply(BaseModel):
    """Answer of POST /explain."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    bundle_id: str
    as_of: int = Field(description=AS_OF)
    ad_id: str
    outcome: Literal["returned", "explored", "displaced", "below_floor", "outscored", "capped", "pruned", "cut_short",
                     "filtered"]
    eligible: bool
    refused_by: RefusedBy | None = Field(description="if the outcome is filtered or capped")
    level: int | None = Field(description="of the tree, where the outcome was decided; null if filtered")
    score: float | None = Field(description="of the ad or its node there")
    rank: int | None
    margin: float | None
    ecpm: float | None = Field(description="of the ad or its node there; null where the score ranks")
    kth_score: float | None = Field(description="score of the last ad that was returned")
    kth_ecpm: float | None = Field(description="its eCPM; null where the score ranks")
    propensity: float | None = Field(description="probability that an answer to this request shows the ad, 0 if it is "
                                                 "out of reach; null unless the request explores")
    context: ContextEffect | None = Field(description="null if the model reads no context")
    path: list[PathLevel] = Field(description="down to that level")
    user: Literal["known", "inline", "unknown"]
    history: HistoryCount | None = Field(description="as in the answer of POST /retrieve")
    coverage: float
    degraded: list[Literal["redis", "deadline", "shard"]]


class ErrorReply(BaseModel):
    """Body of every error reply."""

    model_config = ConfigDict(extra="forbid")

    error_type: str = Field(description="one of the closed list in docs/operations.md")
    message: str = Field(description="the fact, with the value found")
    help: str = Field(description="what to do")
    details: str | None = Field(default=None, description="further text of several lines, only if there is any")
