"""Bodies and replies of the calls about users, with the same rules as in `schemas`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.contract.ad_schemas import Version


class UserPut(BaseModel):
    """Body of PUT /users/{user_id}."""

    model_config = ConfigDict(extra="forbid", strict=True)

    features: dict[str, Any] = Field(description="an object of all features of the user by name, as in user_features "
                                                 "of a request; one that is left out is unknown from then on")
    if_version: Version | None = Field(default=None, description="version that the user must have, 0 for one whose "
                                                                 "features were never put; default: any")


class UserReply(BaseModel):
    """Answer of PUT and DELETE /users/{user_id}."""

    model_config = ConfigDict(extra="forbid")

    user_id: str
    version: int = Field(description="sequence number of the change")
    applied: bool = Field(description="whether every worker of this replica answers accordingly")
