"""Bodies of the HTTP contract. Requests are validated by these models; replies are built as plain dicts for speed,
and their models are the documentation that the tests compare real replies with.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
# float32 holds it with room for logits, so that no score overflows.
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class RetrieveRequest(BaseModel):
    """Body of POST /retrieve. A field that is null counts as absent; a field that is not listed is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: str = Field(description="id of the user as text, 1 to 128 bytes; an unknown one is answered too")
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
                    "GET /info, or a list of one a level; default: the bundle's")
    exact: bool = Field(default=False, description="true scores every ad instead of walking the tree; slow, the truth")
    task_weights: dict[str, Weight] | None = Field(
        default=None,
        description="an object of task name -> weight, a number from 0 to 1000000, at least one above 0; tasks that it "
                    "leaves out weigh 0; default: 1 for the first task")
    exclude_ad_ids: list[str | int] | None = Field(
        default=None,
        description="a list of ad ids (text or integers) that must not be returned; unknown ids are ignored")


class Ad(BaseModel):
    """One ad of the answer."""

    model_config = ConfigDict(extra="forbid")

    ad_id: str
    score: float = Field(description="sum over tasks of weight x logit")
    probabilities: dict[str, float] | None = Field(
        default=None, description="task -> probability; absent where the tasks were not trained on impressions")


class Level(BaseModel):
    """What the search did at one level of the tree."""

    model_config = ConfigDict(extra="forbid")

    level: int = Field(description="1 is the coarsest, the last holds the ads")
    candidates: int
    scored: int = Field(description="0 where all candidates fit into the beam")
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
    levels: list[Level]


class RetrieveReply(BaseModel):
    """Answer of POST /retrieve."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    bundle_id: str
    ads: list[Ad] = Field(description="best first; min(top_k, ads that are not excluded)")
    user: Literal["known", "inline", "unknown"]
    user_cache: Literal["local", "redis", "miss", "bypass"]
    coverage: float = Field(description="share of the planned pairs that was scored; 1.0 unless cut short")
    degraded: list[Literal["redis"]] = Field(description="what was done without")
    pairs_scored: int
    latency_ms: Latency


class ErrorReply(BaseModel):
    """Answer of every request that is refused."""

    model_config = ConfigDict(extra="forbid")

    error_type: str = Field(description="one of the closed list in docs/service.md")
    message: str = Field(description="the fact, with the value found")
    help: str = Field(description="what to do")
