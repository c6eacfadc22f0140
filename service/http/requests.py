"""Requests and replies of the endpoints: access entries, bodies read within limits, JSON replies."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.contract.errors import ErrorType, ServiceError
from service.http.observer import AccessEntry
from service.settings import Settings, variable

JSON = "application/json"
LINES = "application/x-ndjson"


def entry_of(request: Request) -> AccessEntry:
    """The entry of a request in the access log."""
    entry: AccessEntry = request.scope["access_entry"]
    return entry


def json_reply(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type=JSON)


async def read_body(request: Request, settings: Settings, media_type: str = JSON,
                    less: str = "such as fewer exclude_ad_ids or a shorter history") -> bytes:
    """The body of a request that declares a media type, read within the limits on its size and time.

    Args:
        request: whose body it is.
        settings: with the limits.
        media_type: that it has to declare.
        less: how to send less, for the refusal of a body that is too large.

    Raises:
        ServiceError: `unsupported_media_type`, `body_too_large` or `request_timeout`.
    """
    limit, seconds = settings.max_body_bytes, settings.body_seconds
    _check_media_type(request, media_type)
    too_large = ServiceError(ErrorType.BODY_TOO_LARGE, f"the body is larger than this service's limit of {limit} bytes",
                             f"send less, {less}")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large
                parts.append(part)
    except TimeoutError as error:
        raise ServiceError(ErrorType.REQUEST_TIMEOUT, f"{size} bytes of the body have arrived, but not the rest, after "
                           f"{seconds:g} s", f"send the body at once, or raise {variable('body_seconds')}") from error
    return b"".join(parts)


def _check_media_type(request: Request, media_type: str) -> None:
    declared = request.headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != media_type:
        raise ServiceError(ErrorType.UNSUPPORTED_MEDIA_TYPE,
                           f"the request's Content-Type is {declared[:60]!r}, {media_type} was expected",
                           f"send the header Content-Type: {media_type}")
    coding = request.headers.get("content-encoding", "")
    if coding.strip().lower() not in ("", "identity"):
        raise ServiceError(ErrorType.UNSUPPORTED_MEDIA_TYPE,
                           f"the request's Content-Encoding is {coding[:60]!r}, compressed bodies are not supported",
                           "send the JSON itself, without the header Content-Encoding")
