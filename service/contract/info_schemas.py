"""The reply of GET /info."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FieldKind = Literal["dense", "categorical", "multi", "location"]


class InfoLimits(BaseModel):
    """Largest values that a request may ask for, and the smallest deadline."""

    model_config = ConfigDict(extra="forbid")

    max_top_k: int
    max_beam_width: int
    max_excluded: int = Field(description="most ids in exclude_ad_ids")
    min_timeout_ms: float
    max_body_bytes: int


class InfoReply(BaseModel):
    """Answer of GET /info."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(description="of the service")
    bundle: dict[str, Any] = Field(description="the bundle's manifest, with total_bytes in place of the files")
    scorer: str = Field(description="what computes scores: the compiled kernel, or ONNX Runtime and why")
    limits: InfoLimits
    tasks: list[str]
    user_features: dict[str, FieldKind] = Field(description="name -> kind")
    context: dict[str, FieldKind] = Field(description="name -> kind")
    model_context: dict[str, str | None] = Field(
        description="context field that the model reads -> the value that answers are given for, whatever the request "
                    "says; null if it is the request's")
    ad_features: dict[str, FieldKind] = Field(description="name -> kind")
    roles: dict[str, str] = Field(description="advertiser and campaign -> the ad field that says so")
    bid_types: list[Literal["CPM", "CPC", "CPA"]] = Field(description="that a task or an impression is paid by")
    ecpm: bool = Field(description="whether rank_by may be ecpm: the probabilities are calibrated")
