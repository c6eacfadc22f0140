"""The outermost ASGI layer: gives each request an id, counts it, logs one line, and ends its trace."""

from __future__ import annotations

import os
import re
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import metrics
from service.telemetry.request_log import log
from service.telemetry.request_trace import RequestTrace

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
ID_HEADER, _TRACE_HEADER = b"x-request-id", b"traceresponse"
CLIENT_GONE = 499
"""Status in log and metrics of a request whose client left while sending its body, while waiting, or in the reply."""


@dataclass
class AccessEntry:
    """One request in the access log and the metrics; `scope["access_entry"]` while it runs.

    Attributes:
        request_id: the client's X-Request-ID if it is short and plain, else a random one.
        started: `time.perf_counter()` at the arrival of the headers.
        endpoint: path of the route that took it; `other` where there is none.
        error_type: of the closed list, empty for an answer.
        details: more fields of the log line.
        trace: of a sampled request.
        side: of the user and the id of the bundle that answers, while a canary runs.
    """

    request_id: str
    started: float
    endpoint: str = "other"
    status: int = 0
    error_type: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    trace: RequestTrace | None = None
    side: tuple[str, str] | None = None


class Observer:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = scope["access_entry"] = AccessEntry(_request_id(scope), time.perf_counter())

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                message["headers"] = [*message["headers"], (ID_HEADER, entry.request_id.encode())]
                if entry.trace is not None:
                    message["headers"].append((_TRACE_HEADER, entry.trace.header.encode()))
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:  # a defect of the service, which the application has replied to already
            entry.details["traceback"] = traceback.format_exc()
        finally:
            note(entry)


def note(entry: AccessEntry) -> None:
    """Counts and logs a request that has ended, and ends its trace."""
    seconds = time.perf_counter() - entry.started
    metrics.REQUESTS.labels(entry.endpoint, str(entry.status), entry.error_type).inc()
    if entry.side is not None:
        metrics.observe_side(entry.side, entry.status, entry.error_type, seconds, entry.details.get("degraded", ()))
        entry.details["side"] = entry.side[0]
    traced = {} if entry.trace is None else {"trace_id": entry.trace.trace_id}
    log("request", request_id=entry.request_id, **traced, endpoint=entry.endpoint, status=entry.status,
        error_type=entry.error_type or None, ms=round(seconds * 1000, 3), **entry.details)
    if entry.trace is not None:
        entry.trace.attributes["retrieval.request_id"] = entry.request_id
        entry.trace.end(entry.status, entry.error_type)


def new_id() -> str:
    """A random request id."""
    return os.urandom(8).hex()


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == ID_HEADER and _SANE_ID.fullmatch(value):
            return str(value.decode())
    return new_id()
