"""Lines of POST /ads:batch: from the bytes of its body to writes, each with the number of its line."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from index_store.changes.change_log import Kind, Write
from index_store.features.values import FeatureError, as_key
from index_store.live.snapshot import STATUS
from index_store.live.withdrawals import Status
from service.contract.ad_schemas import BatchLine
from service.contract.errors import ErrorType, ServiceError
from service.contract.parsing import parse_request


@dataclass(frozen=True)
class NumberedWrite:
    """A write and the number of its line, from 1."""

    line: int
    write: Write


def parse_lines(body: bytes, key: str | None) -> list[NumberedWrite]:
    """The writes of a batch; empty lines are passed over.

    Args:
        body: one JSON object a line.
        key: idempotency key of the call; that of a line without one of its own is `KEY/NUMBER`.

    Raises:
        ServiceError: `invalid_line`, with its number, for the first one that does not fit; or there is none.
    """
    writes = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            writes.append(NumberedWrite(number, _write(line, None if key is None else f"{key}/{number}")))
        except orjson.JSONDecodeError as error:
            raise ServiceError(ErrorType.INVALID_LINE, f"line {number} is not valid JSON: {error}",
                               "send one JSON object a line, in UTF-8") from error
        except FeatureError as error:
            raise ServiceError(ErrorType.INVALID_LINE, f"line {number}: {error.fact}", error.remedy) from error
        except ServiceError as error:
            raise ServiceError(ErrorType.INVALID_LINE, f"line {number}: {error.message}", error.help) from error
    if not writes:
        raise ServiceError(ErrorType.INVALID_VALUE, f"the body of {len(body)} bytes has no line",
                           'send lines such as {"op": "patch", "ad_id": "42", "status": "paused"}')
    return writes


def at_line(error: ServiceError, line: int) -> ServiceError:
    """The refusal of one line, with its number."""
    return ServiceError(error.error_type, f"line {line}: {error.message}", error.help, error.retry_after)


def _write(line: bytes, key: str | None) -> Write:
    parsed = parse_request(orjson.loads(line), BatchLine)
    if (parsed.status is None) != (parsed.op == "delete"):
        raise ServiceError(ErrorType.INVALID_VALUE, f"op is {parsed.op}, and there is {'a' if parsed.status else 'no'} "
                           "status", "send a status with patch, and none with delete")
    return Write(kind=Kind.AD, id=as_key(parsed.ad_id, "ad_id").decode(),
                 fields={STATUS: parsed.status or Status.DELETED.value}, if_version=parsed.if_version,
                 key=parsed.key or key)
