"""POST /events: what users did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from service.bundles.bundle_host import BundleHost
from service.contract.ad_schemas import WriteOptions
from service.contract.event_lines import parse_events
from service.contract.event_schemas import EventLine, EventsReply
from service.contract.lines import at_line
from service.http.authorization import TokenScope
from service.http.change_calls import REFUSALS, ChangeCalls, idempotency_key, options_of
from service.http.dispatcher import Route
from service.http.requests import LINES, json_reply, read_body
from service.live.event_writer import EventWriter
from service.live.log_writer import RefusedWriteError
from service.sampling.calibration_meter import CalibrationMeter


class EventsApi:
    """The endpoint /events.

    Args:
        calls: to the change log.
        host: the bundle that serves.
        meter: of its calibration.
    """

    def __init__(self, calls: ChangeCalls, host: Callable[[], BundleHost],
                 meter: Callable[[], CalibrationMeter]) -> None:
        self._calls, self._host, self._meter = calls, host, meter

    @property
    def routes(self) -> list[Route]:
        return [Route(path="/events", method="POST", endpoint=self.events, body=EventLine, media_type=LINES,
                      query=WriteOptions, keyed=True, reply=EventsReply, refusals=REFUSALS, scope=TokenScope.WRITE)]

    async def events(self, request: Request) -> Response:
        """Writes events, all or none, by lines of JSON: a click is in the user's history within a second."""
        writer = EventWriter(self._calls.usable())
        options = options_of(request, WriteOptions)
        body = await read_body(request, self._calls.settings, LINES, "in several calls")
        lines = await asyncio.to_thread(parse_events, body, idempotency_key(request), time.time())
        host = self._host()
        snapshot = host.current
        try:
            changes = await self._calls.counted(len(lines), writer.append([line.write for line in lines], snapshot))
        except RefusedWriteError as error:
            raise at_line(error.refusal, lines[error.index].line) from error
        self._meter().offer(host.retriever, snapshot, [line.write for line in lines])
        return json_reply({"sequences": [change.sequence for change in changes],
                           "applied": await self._calls.applied(changes, options)})
