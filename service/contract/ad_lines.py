"""Lines of POST /ads:batch."""

from __future__ import annotations

from typing import Any

import orjson

from index_store.changes.change_log import Kind, Write
from index_store.declaration.values import as_key
from index_store.live.ad_changes import STATUS, TARGETING
from index_store.live.users import FEATURES
from index_store.live.withdrawals import Status
from index_store.value.bids import BID
from service.contract.ad_schemas import AdPatch, AdPut, BatchLine
from service.contract.errors import ErrorType, ServiceError
from service.contract.lines import NumberedWrite, read_lines
from service.contract.parsing import parse_request

_EXAMPLE = '{"op": "patch", "ad_id": "42", "status": "paused"}'

_FIELDS = {"put": ({FEATURES}, {FEATURES, TARGETING, BID, STATUS}),
           "patch": ({STATUS, TARGETING, BID}, {STATUS, TARGETING, BID}),
           "delete": (set[str](), set[str]())}
"""By operation: fields of which it needs one, and those that it may give."""

_HELP = {"put": "send features with put, and targeting, a bid and a status if you like",
         "patch": "send a status, targeting or a bid with patch; features need put",
         "delete": "send none of features, targeting, bid and status with delete"}


def parse_lines(body: bytes, key: str | None) -> list[NumberedWrite]:
    """The writes of a batch, see `read_lines`."""
    return read_lines(body, key, _write, _EXAMPLE)


def written(op: str, said: AdPut | AdPatch | BatchLine) -> dict[str, Any]:
    """The fields of a change that a put, patch or delete writes.

    Raises:
        ServiceError: `invalid_value`, if it gives too little or too much for that.
    """
    given = said.model_fields_set & {STATUS, FEATURES, TARGETING, BID}
    needed, allowed = _FIELDS[op]
    if not given <= allowed or not (given & needed or not needed):
        names = ", ".join(sorted(given)) or "nothing"
        raise ServiceError(ErrorType.INVALID_VALUE, f"a {op} gives {names}", _HELP[op])
    fields = {name: getattr(said, name) for name in given}
    for name in (STATUS, FEATURES):
        if fields.get(name, "") is None:
            raise ServiceError(ErrorType.INVALID_VALUE, f"{name} is null", "leave it out, or send a value")
    if op == "put":
        return {TARGETING: None, BID: None} | fields | {STATUS: fields.get(STATUS) or Status.ACTIVE.value}
    if op == "delete":
        return {STATUS: Status.DELETED.value}
    return fields


def _write(line: bytes, key: str | None) -> Write:
    parsed = parse_request(orjson.loads(line), BatchLine)
    return Write(kind=Kind.AD, id=as_key(parsed.ad_id, "ad_id").decode(), fields=written(parsed.op, parsed),
                 if_version=parsed.if_version, key=parsed.key or key)
