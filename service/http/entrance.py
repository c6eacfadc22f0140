"""What calls that may need a token go through first: their trace begins, and their token is checked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request

from service.http.authorization import Authorization, TokenScope
from service.http.requests import entry_of
from service.settings import Settings

if TYPE_CHECKING:
    from service.telemetry.tracing import Tracing


class Entrance:
    """The entrance of one worker. Probes, metrics and what is public pass it by.

    Args:
        settings: of the service.
        version: of the service.
    """

    def __init__(self, settings: Settings, version: str) -> None:
        self._authorization, self._traced, self._version = Authorization(settings), settings.traces, version
        self._tracing: Tracing | None = None

    def open(self) -> None:
        """Starts tracing if it is on; only then are the packages of the extra `trace` needed, and imported."""
        if self._traced:
            from service.telemetry.tracing import Tracing

            self._tracing = Tracing(self._version)

    async def close(self) -> None:
        """Sends the last spans."""
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)

    def check(self, scope: TokenScope, request: Request) -> None:
        """Begins the trace of a call of this scope, and raises ServiceError unless the call may be made."""
        if self._tracing is not None:
            entry = entry_of(request)
            entry.trace = self._tracing.begin(request.headers, request.method, entry.endpoint, entry.started)
        self._authorization.check(scope, request)
