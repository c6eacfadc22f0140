"""Lines of JSON: from the bytes of a body to writes, each with the number of its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from index_store.changes.change_log import Write
from index_store.declaration.values import FeatureError
from service.contract.errors import ErrorType, ServiceError


@dataclass(frozen=True)
class NumberedWrite:
    """A write and the number of its line, from 1."""

    line: int
    write: Write


def read_lines(body: bytes, key: str | None, write: Callable[[bytes, str | None], Write],
               example: str) -> list[NumberedWrite]:
    """The writes of a body; empty lines are passed over.

    Args:
        body: one JSON object a line.
        key: idempotency key of the call; that of a line without one of its own is `KEY/NUMBER`.
        write: makes the write of one line, given the key that it has if it does not name one itself.
        example: of a line, for whoever sends none.

    Raises:
        ServiceError: `invalid_line`, with its number, for the first one that does not fit; or there is none.
    """
    writes = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            writes.append(NumberedWrite(number, write(line, None if key is None else f"{key}/{number}")))
        except orjson.JSONDecodeError as error:
            raise ServiceError(ErrorType.INVALID_LINE, f"line {number} is not valid JSON: {error}",
                               "send one JSON object a line, in UTF-8") from error
        except FeatureError as error:
            raise ServiceError(ErrorType.INVALID_LINE, f"line {number}: {error.fact}", error.remedy) from error
        except ServiceError as error:
            raise ServiceError(ErrorType.INVALID_LINE, f"line {number}: {error.message}", error.help) from error
    if not writes:
        raise ServiceError(ErrorType.INVALID_VALUE, f"the body of {len(body)} bytes has no line",
                           f"send lines such as {example}")
    return writes


def at_line(error: ServiceError, line: int) -> ServiceError:
    """The refusal of one line, with its number."""
    return ServiceError(error.error_type, f"line {line}: {error.message}", error.help, error.retry_after)
