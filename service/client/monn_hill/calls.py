"""Each call as the HTTP request that it is."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from monn_hill.schemas import (
    AdPatch,
    AdPut,
    AdReply,
    BatchLine,
    BatchReply,
    CampaignPut,
    CampaignReply,
    EventLine,
    EventsReply,
    ExplainReply,
    ExplainRequest,
    InfoReply,
    RetrieveBatchReply,
    RetrieveReply,
    RetrieveRequest,
    UserPut,
    UserReply,
    WriteReply,
)

Reply = TypeVar("Reply", covariant=True)
Wait = Literal["durable", "applied"]
"""When a write is answered: once it is in the change log, or once every worker of the replica answers accordingly."""

JSON, LINES = "application/json", "application/x-ndjson"
_KEY = "[!-~]{1,128}"
_OF_WHAT_IS_LEFT = 0.9
"""Share of the time until the deadline that the service gets; the rest is for the way there and back."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Reply]):
    """A request whose answer is a Reply.

    Attributes:
        scope: of the token that it bears.
        content: its body, given the seconds that are left; None for none.
        parameters: of the query string.
        key: idempotency key.
    """

    method: str
    path: str
    scope: Literal["read", "write"] | None
    content: Callable[[float], bytes] | None = None
    media_type: str = JSON
    parameters: Mapping[str, str | int] = field(default_factory=dict)
    key: str | None = None


def retrieve(query: RetrieveRequest) -> Call[RetrieveReply]:
    return Call(method="POST", path="/retrieve", scope="read", content=lambda left: _json(_timed(query, left)))


def retrieve_batch(queries: Iterable[RetrieveRequest]) -> Call[RetrieveBatchReply]:
    return Call(method="POST", path="/retrieve:batch", scope="read", media_type=LINES,
                content=lambda left: _lines(_timed(query, left) for query in queries))


def explain(query: ExplainRequest) -> Call[ExplainReply]:
    return Call(method="POST", path="/explain", scope="read", content=lambda left: _json(_timed(query, left)))


def info() -> Call[InfoReply]:
    return Call(method="GET", path="/info", scope=None)


def ad(ad_id: str | int) -> Call[AdReply]:
    return Call(method="GET", path=_path("ads", ad_id), scope="write")


def put_ad(ad_id: str | int, ad: AdPut, wait: Wait, key: str | None) -> Call[WriteReply]:
    return _write("PUT", _path("ads", ad_id), wait, key, _json(ad))


def patch_ad(ad_id: str | int, patch: AdPatch, wait: Wait, key: str | None) -> Call[WriteReply]:
    return _write("PATCH", _path("ads", ad_id), wait, key, _json(patch))


def delete_ad(ad_id: str | int, if_version: int | None, wait: Wait, key: str | None) -> Call[WriteReply]:
    return _write("DELETE", _path("ads", ad_id), wait, key, if_version=if_version)


def batch_ads(lines: Iterable[BatchLine], wait: Wait, key: str | None) -> Call[BatchReply]:
    return _write("POST", "/ads:batch", wait, key, _lines(lines), LINES)


def events(lines: Iterable[EventLine], wait: Wait, key: str | None) -> Call[EventsReply]:
    return _write("POST", "/events", wait, key, _lines(lines), LINES)


def campaign(campaign_id: str | int) -> Call[CampaignReply]:
    return Call(method="GET", path=_path("campaigns", campaign_id), scope="write")


def put_campaign(campaign_id: str | int, campaign: CampaignPut, wait: Wait, key: str | None) -> Call[CampaignReply]:
    return _write("PUT", _path("campaigns", campaign_id), wait, key, _json(campaign))


def put_user(user_id: str | int, user: UserPut, wait: Wait, key: str | None) -> Call[UserReply]:
    return _write("PUT", _path("users", user_id), wait, key, _json(user))


def delete_user(user_id: str | int, wait: Wait, key: str | None) -> Call[UserReply]:
    return _write("DELETE", _path("users", user_id), wait, key)


def _write(method: str, path: str, wait: Wait, key: str | None, content: bytes | None = None, media_type: str = JSON,
           if_version: int | None = None) -> Call[Any]:
    """A call that has a key whatever the caller gives, so that it may be repeated; ValueError if it is none."""
    if key is not None and not re.fullmatch(_KEY, key):
        raise ValueError(f"key is {key!r}; give 1 to 128 printable characters of ASCII without spaces")
    parameters: dict[str, str | int] = {"wait": wait}
    if if_version is not None:
        parameters["if_version"] = if_version
    return Call(method=method, path=path, scope="write", content=None if content is None else lambda _: content,
                media_type=media_type, parameters=parameters, key=key or uuid.uuid4().hex)


def _path(kind: str, name: str | int) -> str:
    return f"/{kind}/{quote(str(name), safe='')}"


def _timed(query: Mapping[str, Any], left: float) -> dict[str, Any]:
    """A query whose own deadline is not later than that of the call."""
    most = round(left * 1000 * _OF_WHAT_IS_LEFT, 3)
    own = query.get("timeout_ms")
    return {**query, "timeout_ms": most if own is None else min(own, most)}


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def _lines(entries: Iterable[Any]) -> bytes:
    return b"\n".join(map(_json, entries))
