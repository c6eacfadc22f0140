"""What every endpoint needs of HTTP: the request's record, its body read within limits, a JSON reply."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request, Response

from service.contract.errors import ErrorType, ServiceError
from service.http.observer import RequestRecord

JSON = "application/json"


def record_of(request: Request, endpoint: str) -> RequestRecord:
    """What the observer knows of a request, which is told its endpoint."""
    record: RequestRecord = request.scope["record"]
    record.endpoint = endpoint
    return record


def json_reply(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type=JSON)


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request that declares JSON, read no further than the limit.

    Raises:
        ServiceError: `unsupported_media_type` or `body_too_large`.
    """
    declared = request.headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != JSON:
        raise ServiceError(ErrorType.UNSUPPORTED_MEDIA_TYPE,
                           f"the request's Content-Type is {declared[:60]!r}, {JSON} was expected",
                           f"send the header Content-Type: {JSON}")
    too_large = ServiceError(ErrorType.BODY_TOO_LARGE, f"the body is larger than this service's limit of {limit} bytes",
                             "send less, such as fewer exclude_ad_ids or a shorter history")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)
