"""Bodies and replies of the calls about campaigns, with the same rules as in `schemas`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.contract.ad_schemas import Version

_BUDGET = ("what its ads may spend in a day of its time zone, in millionths of a unit of the currency; null for no "
           "budget")


_FREQUENCY_CAP = ('an object such as {"impressions": 3, "hours": 24}: a user who had so many of them, 1 to 100, within '
                  "so many hours, 1 to 168, gets no ad of the campaign; null for none")


class CampaignPut(BaseModel):
    """Body of PUT /campaigns/{campaign_id}: all that there is to say about a campaign."""

    model_config = ConfigDict(extra="forbid", strict=True)

    daily_budget_micros: int | None = Field(description=_BUDGET)
    currency: str = Field(description="its code by ISO 4217, such as EUR: that of the bids, the same for all campaigns")
    time_zone: str = Field(default="UTC", description="whose days they are, by its name of the IANA, such as "
                                                      "Europe/Berlin; default: UTC")
    frequency_cap: dict[str, Any] | None = Field(default=None, description=_FREQUENCY_CAP)
    if_version: Version | None = Field(default=None, description="version that the campaign must have, 0 for one that "
                                                                 "was never declared; default: any")


class FrequencyCap(BaseModel):
    """How often a user may see a campaign."""

    model_config = ConfigDict(extra="forbid")

    impressions: int
    hours: int


class CampaignReply(BaseModel):
    """Answer of PUT and GET /campaigns/{campaign_id}."""

    model_config = ConfigDict(extra="forbid")

    campaign_id: str
    version: int = Field(description="of the campaign, and sequence number of the change")
    daily_budget_micros: int | None = Field(description=_BUDGET)
    currency: str
    time_zone: str
    frequency_cap: FrequencyCap | None = Field(description=_FREQUENCY_CAP)
    ads: int = Field(description="number of ads that this worker knows of the campaign")
    spent_today_micros: int = Field(description="in the current day of its time zone, as far as this worker has "
                                                "applied the change log, rounded down")
    gate: Literal["open", "paced", "closed"] = Field(
        description="open: all requests may get its ads; paced: a share of them; closed: none, since the budget of the "
                    "day is spent, or since the change log cannot be read")
    closed_until: float | None = Field(description="when the gate opens again, in seconds since 1970; null unless a "
                                                   "spent budget closes it")
    pass_probability: float = Field(description="share of the requests that may get its ads now")
    applied: bool = Field(description="whether every worker of this replica answers accordingly")
