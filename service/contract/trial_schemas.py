"""Bodies and replies of the calls about trials, canary and shadow, with the same rules as in `schemas`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_BUNDLE = "name of the bundle's folder beside the pointer, as GET /admin/bundles lists it; not the current one"


class CanaryRequest(BaseModel):
    """Body of POST /admin/canary."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bundle: str = Field(description=_BUNDLE)
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of the users whom it answers, above 0 up to 1; for the canary that runs, its new share")
    force: bool = Field(default=False, description="begin even if it is worse than the current one; a broken bundle is "
                                                   "still refused")


class ShadowRequest(BaseModel):
    """Body of POST /admin/shadow."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bundle: str = Field(description=_BUNDLE)


class TrialState(BaseModel):
    """A bundle on trial."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    beside: str = Field(description="the bundle that the pointer names; the trial ends when it names another")
    share: float | None = Field(description="of the users whom it answers; null for a shadow")
    ready: bool = Field(description="whether it has passed its check on this replica")


class EndedTrial(BaseModel):
    """The last trial that has ended."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    reason: str


class EndedTrials(BaseModel):
    """The last trial of each role that has ended since one began; null if there was none."""

    model_config = ConfigDict(extra="forbid")

    canary: EndedTrial | None
    shadow: EndedTrial | None


class TrialsState(BaseModel):
    """What is on trial."""

    model_config = ConfigDict(extra="forbid")

    canary: TrialState | None = Field(description="the bundle that answers a share of the users")
    shadow: TrialState | None = Field(description="the bundle that answers nobody and is compared with the current one")
    ended: EndedTrials
    trials_problem: str | None = Field(description="why this replica does not follow the file of trials")


class TrialBegun(TrialsState):
    """Answer of POST and DELETE of /admin/canary and /admin/shadow: every worker of this replica has it so."""

    seconds: float = Field(description="from the call to the last worker's report")
    comparison: str | None = Field(description="measures of a canary and the current bundle, as a table; null for a "
                                               "shadow, another share, an end, and with force")


class SideFigures(BaseModel):
    """What one side has done while a canary ran."""

    model_config = ConfigDict(extra="forbid")

    side: Literal["current", "canary"]
    bundle_id: str
    requests: int
    refused: int = Field(description="of these, with a status from 400 to 499")
    failed: int = Field(description="of these, with a status from 500")
    degraded: int
    p50_ms: float | None = Field(description="of those that were answered, by the buckets of the metric")
    p99_ms: float | None


class Drift(BaseModel):
    """What the shadow says of the ads that both show, less what was said of them."""

    model_config = ConfigDict(extra="forbid")

    task: str
    scale: Literal["probability", "logit"]
    mean: float


class ShadowFigures(BaseModel):
    """What the comparisons of a shadow with the current bundle have found."""

    model_config = ConfigDict(extra="forbid")

    bundle_id: str
    beside: str = Field(description="id of the bundle that answered")
    compared: int
    overlap: float = Field(description="mean share of the ads that both show")
    drift: list[Drift]
    cpu_ms: float = Field(description="mean processor time of a request in the shadow")
    current_cpu_ms: float = Field(description="and in the bundle that answered, in the same thread")


class AdCount(BaseModel):
    """How often an ad was shown by one bundle and not by the other."""

    model_config = ConfigDict(extra="forbid")

    ad_id: str
    count: int


class TrialsReply(TrialsState):
    """Answer of GET /admin/trials: figures of all workers of this replica since the service started."""

    sides: list[SideFigures]
    fallbacks: dict[str, int] = Field(description="requests of a canary's users that the current bundle answered: "
                                                  "`refused` by the canary, or it `failed`")
    shadows: list[ShadowFigures] = Field(description="each pair of bundles that was compared")
    skipped: dict[str, int] = Field(description="answers that were not compared: the shadow was `busy` with another, "
                                                "`refused` the request, or `failed`")
    shadow_cpu_seconds: float = Field(description="processor time that comparing took")
    only_current: list[AdCount] = Field(description="the ads that most answers had and the shadow did not, of those "
                                                    "that the worker which replies has compared")
    only_shadow: list[AdCount] = Field(description="and the other way round")
