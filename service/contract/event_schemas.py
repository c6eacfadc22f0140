"""Lines, query string and reply of POST /events, with the same rules as in `schemas`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from index_store.value.bids import MOST_MICROS
from service.contract.ad_schemas import Key


class EventLine(BaseModel):
    """One line of the body of POST /events: what a user did with an ad."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: str | int = Field(description="id of the user, text or an integer")
    ad_id: str | int = Field(description="id of the ad, text or an integer; a deleted ad still takes events")
    type: Literal["impression", "click", "conversion"] = Field(description="impression, click or conversion")
    at: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="when it was, in seconds since 1970; default: now")
    price_micros: Annotated[int, Field(ge=0, le=MOST_MICROS)] | None = Field(
        default=None, description="what it costs the ad's campaign, in millionths of a unit of the currency; default: "
                                  "the ad's bid, if that pays for such an event (a thousandth of a CPM bid for an "
                                  "impression, a CPC bid for a click, a CPA bid for a conversion), else nothing")
    request_id: Annotated[str, Field(pattern="^[A-Za-z0-9._:-]{1,64}$")] | None = Field(
        default=None, description="request_id of the answer that showed the ad, 1 to 64 of A-Z a-z 0-9 . _ : -")
    propensity: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="propensity of the ad in that answer, a number above 0 up to 1, which needs "
                                  "request_id: it is kept for off-policy estimates")
    explored: bool | None = Field(
        default=None, description="explored of the ad in that answer, true or false; needs propensity")
    context: dict[str, Any] | None = Field(
        default=None, description="an object of context fields in which the ad was shown, as in POST /retrieve, with "
                                  "those that answers are fixed at, such as the position")
    key: Key | None = Field(default=None, description="idempotency key of this line, 1 to 128 printable characters of "
                                                      "ASCII without spaces; default: that of the call and its number")


class EventsReply(BaseModel):
    """Answer of POST /events."""

    model_config = ConfigDict(extra="forbid")

    sequences: list[int] = Field(description="sequence number of each line's event in the change log, in order")
    applied: bool = Field(description="whether every worker of this replica answers accordingly to all of them")
