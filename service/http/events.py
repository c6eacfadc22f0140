"""POST /events: what users did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from index_store.declaration.values import FeatureError
from index_store.features.encoder import FeatureEncoder
from index_store.live.user_history import CONTEXT
from index_store.targeting.attributes import check_context
from service.bundles.sides import Sides
from service.contract.ad_schemas import WriteOptions
from service.contract.errors import from_feature_error
from service.contract.event_lines import parse_events
from service.contract.event_schemas import EventLine, EventsReply
from service.contract.lines import NumberedWrite, at_line
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
        sides: the bundles that serve.
        meter: of their calibration.
    """

    def __init__(self, calls: ChangeCalls, sides: Callable[[], Sides],
                 meter: Callable[[], CalibrationMeter]) -> None:
        self._calls, self._sides, self._meter = calls, sides, meter

    @property
    def routes(self) -> list[Route]:
        return [Route(path="/events", method="POST", endpoint=self.events, body=EventLine, media_type=LINES,
                      query=WriteOptions, keyed=True, reply=EventsReply, refusals=REFUSALS, scope=TokenScope.WRITE)]

    async def events(self, request: Request) -> Response:
        """Writes events, all or none, by lines of JSON: a click is in the user's history within a second."""
        writer = EventWriter(self._calls.usable())
        options = options_of(request, WriteOptions)
        body = await read_body(request, self._calls.settings, LINES, "in several calls")
        sides = self._sides()
        host = sides.current
        seen = [(side, side.snapshot) for side in sides.hosts]
        snapshot, encoder = host.current, host.retriever.bundle.content.encoder
        lines = await asyncio.to_thread(_checked_lines, body, idempotency_key(request), encoder)
        try:
            changes = await self._calls.counted(len(lines), writer.append([line.write for line in lines], snapshot))
        except RefusedWriteError as error:
            raise at_line(error.refusal, lines[error.index].line) from error
        for side, before in seen:  # an event measures the bundle that answers its user
            self._meter().offer(side.retriever, before,
                                [line.write for line in lines if sides.of_user(line.write.id.encode()) is side])
        return json_reply({"sequences": [change.sequence for change in changes],
                           "applied": await self._calls.applied(changes, options)})


def _checked_lines(body: bytes, key: str | None, encoder: FeatureEncoder) -> list[NumberedWrite]:
    lines = parse_events(body, key, time.time())
    for line in lines:
        try:
            check_context(encoder, line.write.fields.get(CONTEXT, {}))
        except FeatureError as error:
            raise at_line(from_feature_error(error, frozenset()), line.line) from error
    return lines
