"""Lines of POST /ads:batch."""

from __future__ import annotations

import orjson

from index_store.changes.change_log import Kind, Write
from index_store.features.values import as_key
from index_store.live.snapshot import STATUS
from index_store.live.withdrawals import Status
from service.contract.ad_schemas import BatchLine
from service.contract.errors import ErrorType, ServiceError
from service.contract.lines import NumberedWrite, read_lines
from service.contract.parsing import parse_request

_EXAMPLE = '{"op": "patch", "ad_id": "42", "status": "paused"}'


def parse_lines(body: bytes, key: str | None) -> list[NumberedWrite]:
    """The writes of a batch, see `read_lines`."""
    return read_lines(body, key, _write, _EXAMPLE)


def _write(line: bytes, key: str | None) -> Write:
    parsed = parse_request(orjson.loads(line), BatchLine)
    if (parsed.status is None) != (parsed.op == "delete"):
        raise ServiceError(ErrorType.INVALID_VALUE, f"op is {parsed.op}, and there is {'a' if parsed.status else 'no'} "
                           "status", "send a status with patch, and none with delete")
    return Write(kind=Kind.AD, id=as_key(parsed.ad_id, "ad_id").decode(),
                 fields={STATUS: parsed.status or Status.DELETED.value}, if_version=parsed.if_version,
                 key=parsed.key or key)
