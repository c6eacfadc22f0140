"""Bodies, query strings and replies of the calls that the console makes, with the same rules as in `schemas`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.contract.ad_schemas import AdBid
from service.contract.schemas import AS_OF, RetrieveRequest

MOST_ADS = 1_000
"""Most ads that one call describes."""


class BesideRequest(RetrieveRequest):
    """Body of POST /admin/bundles/retrieve: a request, and the bundle that is to answer it."""

    bundle: str = Field(description="name of the bundle's folder beside the pointer, as GET /admin/bundles lists it")


class AdsRequest(BaseModel):
    """Body of POST /admin/ads."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ad_ids: Annotated[list[str | int], Field(max_length=MOST_ADS)] = Field(
        description=f"a list of ad ids (text or integers), at most {MOST_ADS:,}")


class AdDescription(BaseModel):
    """An ad as the model sees it."""

    model_config = ConfigDict(extra="forbid")

    ad_id: str
    features: dict[str, Any] = Field(description="field -> value, or list of values; null for none, or for one that "
                                                 "the bundle has never seen")
    targeting: dict[str, Any] | None = Field(description="its predicate over users and context; null for everybody")
    bid: AdBid | None


class AdsReply(BaseModel):
    """Answer of POST /admin/ads."""

    model_config = ConfigDict(extra="forbid")

    bundle_id: str
    ads: list[AdDescription] = Field(description="in the order asked for; unknown ones are left out")


class Spread(BaseModel):
    """How the scored candidates of a level are spread, in score or eCPM, whichever ranks."""

    model_config = ConfigDict(extra="forbid")

    low: float
    high: float
    kept: list[int] = Field(description="candidates in each of equally wide bins from low to high")
    dropped: list[int]


class WalkNode(BaseModel):
    """A candidate of one level."""

    model_config = ConfigDict(extra="forbid")

    node: int = Field(description="number within its level; at the last level the ad's position")
    parent: int | None = Field(description="the node above it; null at level 1, and for an ad beyond the tree")
    ad_id: str = Field(description="the ad, or the one that represents the node: the member nearest to its centre")
    ads: int = Field(description="below it")
    eligible: int = Field(description="of these")
    score: float
    ecpm: float | None = Field(description="in micros, of the ad or promised by the node; null where the score ranks")
    rank: int
    kept: bool
    margin: float | None = Field(description="distance to the best candidate that was dropped, or to the lowest that "
                                             "was kept, in score or eCPM, whichever ranks")


class WalkLevel(BaseModel):
    """What the search chose among at one level."""

    model_config = ConfigDict(extra="forbid")

    level: int = Field(description="1 is the coarsest, the last holds the ads")
    candidates: int
    scored: int = Field(description="0 if all candidates fit into the beam")
    kept: int
    ms: float
    eligible_dropped: int = Field(description="eligible ads below the nodes that were scored and dropped here")
    spread: Spread | None = Field(description="null if nothing was scored")
    nodes: list[WalkNode] = Field(description="the best that were kept and the best that were dropped, by rank")


class WalkReply(BaseModel):
    """Answer of POST /admin/walk."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    bundle_id: str
    as_of: int = Field(description=AS_OF)
    rank_by: Literal["score", "ecpm"]
    user: Literal["known", "inline", "unknown"]
    eligible: int
    ads: int = Field(description="of the catalogue")
    pairs_scored: int
    coverage: float
    levels: list[WalkLevel]


class ReachClause(BaseModel):
    """What one clause of an ad's targeting costs it."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(description="such as targeting.all[1]")
    clause: dict[str, Any]
    judged: bool = Field(description="false for a clause about the context, of which a table of users says nothing: "
                                     "the estimate is made as if it were not there")
    eligible: int = Field(description="users who would be eligible if it were not there")
    times: float | None = Field(description="that number / those who are eligible with it; null if there are none, and "
                                            "where it is not judged")


class ReachOfUsers(BaseModel):
    """Eligible users among those of the bundle."""

    model_config = ConfigDict(extra="forbid")

    known: int = Field(description="users in the bundle's table")
    looked_at: int = Field(description="of these, an even sample where there are many")
    eligible: int = Field(description="of these, by the ad's targeting")
    clauses: list[ReachClause]


class ReachReply(BaseModel):
    """Answer of GET /admin/reach/{ad_id}."""

    model_config = ConfigDict(extra="forbid")

    bundle_id: str
    as_of: int = Field(description=AS_OF)
    ad: AdDescription
    status: Literal["active", "paused", "deleted", "unfit"]
    users: ReachOfUsers
    requests: int = Field(description="recent requests of this worker that were searched again")
    outcomes: dict[str, int] = Field(description="outcome as in POST /explain -> how many of these requests")
    filtered_by: dict[str, int] = Field(description="what kept it from being eligible, as `by` of POST /explain -> how "
                                                    "many of these requests")


class TreeOptions(BaseModel):
    """Query string of GET /admin/tree."""

    model_config = ConfigDict(extra="forbid")

    level: Annotated[int, Field(ge=0)] = Field(default=0, description="of the node whose children are listed; 0 is the "
                                                                      "root above level 1")
    node: Annotated[int, Field(ge=0)] = Field(default=0, description="number of that node within its level")


class TreeNode(BaseModel):
    """A node, and what the recent requests did there."""

    model_config = ConfigDict(extra="forbid")

    node: int = Field(description="number within its level; at the last level the ad's position")
    ad_id: str = Field(description="the ad, or the one that represents the node")
    ads: int = Field(description="of the bundle, below it")
    children: int
    eligible: float = Field(description="mean share of its ads that was eligible; of the ads that no change withdraws "
                                        "where there is no request")
    scored: float = Field(description="share of the requests that scored it")
    kept: float = Field(description="share that went on below it, or returned it")
    returned: float = Field(description="ads below it in the mean answer")
    ms: float = Field(description="mean time that a request spent on it: its share of its level's time")


class MeanLevel(BaseModel):
    """What a request did at one level, on average."""

    model_config = ConfigDict(extra="forbid")

    level: int
    candidates: float
    scored: float
    ms: float


class TreeReply(BaseModel):
    """Answer of GET /admin/tree."""

    model_config = ConfigDict(extra="forbid")

    bundle_id: str
    levels: list[int] = Field(description="number of nodes of each level, the ads last")
    path: list[int] = Field(description="the node at each level down to the one asked for; empty for the root")
    requests: int = Field(description="recent requests of this worker that were searched again")
    level: int = Field(description="of the nodes below")
    total: int = Field(description="number of children")
    nodes: list[TreeNode] = Field(description="of these at most 400, those that most requests scored first")
    mean_levels: list[MeanLevel] = Field(description="of these requests; empty where there are none")


class MetricSample(BaseModel):
    """One number."""

    model_config = ConfigDict(extra="forbid")

    name: str
    labels: dict[str, str]
    value: float


class MetricsReply(BaseModel):
    """Answer of GET /admin/metrics: what GET /metrics says, for whoever may not reach that."""

    model_config = ConfigDict(extra="forbid")

    replica: str = Field(description="which replica: counters are comparable within one alone")
    at: float = Field(description="its clock, in seconds since 1970")
    samples: list[MetricSample]
