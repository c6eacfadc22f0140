"""Lines of POST /events."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from index_store.changes.change_log import Kind, Write
from index_store.declaration.values import as_key
from index_store.live.user_history import AD_ID, AT, CONTEXT, EXPLORED, PRICE, PROPENSITY, REQUEST_ID, TYPE
from service.contract.errors import ErrorType, ServiceError, shown
from service.contract.event_schemas import EventLine
from service.contract.lines import NumberedWrite, read_lines
from service.contract.parsing import parse_request

AHEAD_SECONDS = 60.0
"""How far a clock may be ahead of this machine's."""

_EXAMPLE = '{"user_id": "7", "ad_id": "42", "type": "click"}'


def parse_events(body: bytes, key: str | None, now: float) -> list[NumberedWrite]:
    """The events of a body, see `read_lines`.

    Args:
        body: one JSON object a line.
        key: idempotency key of the call.
        now: in seconds since 1970; an event that is later by more than AHEAD_SECONDS is refused.
    """
    return read_lines(body, key, partial(_event, now), _EXAMPLE)


def _event(now: float, line: bytes, key: str | None) -> Write:
    parsed = parse_request(orjson.loads(line), EventLine)
    if parsed.at is not None and parsed.at > now + AHEAD_SECONDS:
        raise ServiceError(ErrorType.INVALID_VALUE, f"at is {parsed.at!r}, later than this service's clock, "
                           f"{now:.3f}, by more than {AHEAD_SECONDS:g} s", "send seconds since 1970, or leave at out")
    for name, value, needed in ((PROPENSITY, parsed.propensity, REQUEST_ID), (EXPLORED, parsed.explored, PROPENSITY)):
        if value is not None and getattr(parsed, needed) is None:
            raise ServiceError(ErrorType.INVALID_VALUE, f"{name} is {shown(value)}, but {needed} is missing",
                               f"send the {needed} of the answer with it, or leave it out")
    fields: dict[str, Any] = {AD_ID: as_key(parsed.ad_id, "ad_id").decode(), TYPE: parsed.type}
    # Without a time of its own an event has that of its entry in the log, so that a repeated one is the same.
    given = {AT: parsed.at, REQUEST_ID: parsed.request_id, PRICE: parsed.price_micros, PROPENSITY: parsed.propensity,
             EXPLORED: parsed.explored, CONTEXT: parsed.context or None}
    return Write(kind=Kind.EVENT, id=as_key(parsed.user_id, "user_id").decode(), key=parsed.key or key,
                 fields=fields | {name: value for name, value in given.items() if value is not None})
