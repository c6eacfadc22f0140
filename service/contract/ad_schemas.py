"""Bodies, query strings and replies of the calls about ads, with the same rules as in `schemas`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

StatusName = Literal["active", "paused", "deleted"]
Version = Annotated[int, Field(ge=0)]
IDEMPOTENCY_KEY = "Idempotency-Key"
"""Name of the header."""

KEY_PATTERN = "^[!-~]{1,128}$"
Key = Annotated[str, Field(pattern=KEY_PATTERN)]

_FEATURES = "every field of an ad that features.json declares, by name; null for no value, where it is not dense"
_TARGETING = "predicate over the fields of users and context, as in the column of ads.parquet; null for everybody"
_BID = ('an object such as {"micros": 250000, "type": "CPC"}: what the ad pays, in millionths of a unit of the '
        "currency, for a thousand impressions (CPM) or for each click (CPC) or conversion (CPA); null for none")
_IF_VERSION = "version that the ad must have, 0 for one that was never changed; default: any"


class AdPut(BaseModel):
    """Body of PUT /ads/{ad_id}: all that there is to say about an ad."""

    model_config = ConfigDict(extra="forbid", strict=True)

    features: dict[str, Any] = Field(description=_FEATURES)
    targeting: dict[str, Any] | None = Field(default=None, description=_TARGETING)
    status: Literal["active", "paused"] = Field(default="active", description="active or paused")
    bid: dict[str, Any] | None = Field(default=None, description=_BID)
    if_version: Version | None = Field(default=None, description=_IF_VERSION)


class AdPatch(BaseModel):
    """Body of PATCH /ads/{ad_id}: what is to change; the rest stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    status: Literal["active", "paused"] | None = Field(default=None, description="active or paused")
    targeting: dict[str, Any] | None = Field(default=None, description=_TARGETING)
    bid: dict[str, Any] | None = Field(default=None, description=_BID)
    if_version: Version | None = Field(default=None, description=_IF_VERSION)


class WriteOptions(BaseModel):
    """Query string of every call that changes ads."""

    model_config = ConfigDict(extra="forbid")

    wait: Literal["durable", "applied"] = Field(
        default="durable", description="when to answer: durable, once it is in the change log; applied, once every "
                                       "worker of this replica answers accordingly")


class DeleteOptions(WriteOptions):
    """Query string of DELETE /ads/{ad_id}."""

    if_version: Version | None = Field(default=None, description=_IF_VERSION)


class BatchLine(BaseModel):
    """One line of the body of POST /ads:batch: what PUT, PATCH or DELETE /ads/{ad_id} does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    op: Literal["put", "patch", "delete"] = Field(description="put, patch or delete")
    ad_id: str | int = Field(description="id of the ad, text or an integer")
    features: dict[str, Any] | None = Field(default=None, description=f"{_FEATURES}; for put alone")
    targeting: dict[str, Any] | None = Field(default=None, description=f"{_TARGETING}; for put and patch")
    status: Literal["active", "paused"] | None = Field(default=None,
                                                       description="active or paused; for put and patch")
    bid: dict[str, Any] | None = Field(default=None, description=f"{_BID}; for put and patch")
    if_version: Version | None = Field(default=None, description=_IF_VERSION)
    key: Key | None = Field(default=None, description="idempotency key of this line, 1 to 128 printable characters of "
                                                      "ASCII without spaces; default: that of the call and its number")


class WriteReply(BaseModel):
    """Answer of PUT, PATCH and DELETE /ads/{ad_id}."""

    model_config = ConfigDict(extra="forbid")

    ad_id: str
    status: StatusName
    version: int = Field(description="of the ad, and sequence number of the change")
    unseen: list[str] = Field(description="features with a value that the bundle has never seen: it takes the ad for "
                                          "one without that value")
    applied: bool = Field(description="whether every worker of this replica answers accordingly")


class BatchReply(BaseModel):
    """Answer of POST /ads:batch."""

    model_config = ConfigDict(extra="forbid")

    versions: list[int] = Field(description="that each line made, in order")
    applied: bool = Field(description="whether every worker of this replica answers accordingly to all of them")


class WorkerState(BaseModel):
    """What one worker has applied."""

    model_config = ConfigDict(extra="forbid")

    worker: int = Field(description="its number within the replica, from 0")
    as_of: int = Field(description="sequence number of the last change that it has applied")
    applied: bool = Field(description="whether the ad's last change is among them")


class AdBid(BaseModel):
    """What an ad pays."""

    model_config = ConfigDict(extra="forbid")

    micros: int = Field(description="millionths of a unit of the currency")
    type: Literal["CPM", "CPC", "CPA"] = Field(description="for a thousand impressions, each click, each conversion")


class AdReply(BaseModel):
    """Answer of GET /ads/{ad_id}."""

    model_config = ConfigDict(extra="forbid")

    ad_id: str
    status: StatusName
    version: int = Field(description="sequence number of its last change; 0 if it was never changed")
    changed_at: float | None = Field(description="when that was, in seconds since 1970")
    features: dict[str, Any] | None = Field(description="that a change gave it; null if they are those of the bundle")
    targeting: dict[str, Any] | None = Field(description="that a change gave it; null if that is the bundle's, or none")
    bid: AdBid | None = Field(description="as this worker has it, from the last change or the bundle; null if the ad "
                                          "has none, or this worker does not have the ad yet")
    bundle_id: str = Field(description="the bundle that this worker serves")
    path: list[int] | None = Field(description="the ad's node at each level of the tree, at the last level its "
                                               "position; null if this worker does not have the ad yet")
    unfit: str | None = Field(description="why its last change does not fit that bundle, which therefore does not "
                                          "return it; null if it does")
    workers: list[WorkerState] = Field(description="of this replica, those that serve")


class ChangesOptions(BaseModel):
    """Query string of GET /changes."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0)] = Field(default=0, description="sequence number after which to begin")
    limit: Annotated[int, Field(ge=1, le=1_000)] = Field(default=100, description="most changes to return")


class ChangeEntry(BaseModel):
    """One entry of the change log."""

    model_config = ConfigDict(extra="forbid")

    sequence: int = Field(description="its number, from 1 and without gaps")
    at: float = Field(description="when it was made, in seconds since 1970")
    kind: Literal["ad", "campaign", "user", "event", "forgotten", "erased"] = Field(
        description="the state of an ad, a campaign or a user, an event of a user, a user who is forgotten, or what is "
                    "left of an entry of such a user")
    id: str = Field(description="of the ad, campaign or user, for an event of its user; empty if it was erased")
    fields: dict[str, Any] = Field(description="the whole state after it, or what the event says")


class ChangesReply(BaseModel):
    """Answer of GET /changes."""

    model_config = ConfigDict(extra="forbid")

    changes: list[ChangeEntry] = Field(description="in order; the last sequence number is the next `after`")
    last: int = Field(description="sequence number of the last change of all")
