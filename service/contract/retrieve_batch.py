"""Lines and reply of POST /retrieve:batch."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from pydantic import BaseModel, ConfigDict, Field

from service.contract.errors import ErrorType, ServiceError
from service.contract.schemas import ErrorReply, RetrieveReply

MOST_QUERIES = 1_000
_EXAMPLE = '{"user_id": "42", "top_k": 10}'


class BatchedAnswer(BaseModel):
    """What POST /retrieve would have replied to one query of a batch: an answer or an error."""

    model_config = ConfigDict(extra="forbid")

    index: int = Field(description="of the query in the batch, from 0; empty lines do not count")
    status: int = Field(description="HTTP status: 200 for an answer")
    answer: RetrieveReply | None = Field(default=None, description="only if the status is 200")
    error: ErrorReply | None = Field(default=None, description="only if it is not")
    retry_after: int | None = Field(default=None, description="seconds after which an overloaded service may be asked "
                                                              "again; only if it says so")


class RetrieveBatchReply(BaseModel):
    """Answer of POST /retrieve:batch."""

    model_config = ConfigDict(extra="forbid")

    answers: list[BatchedAnswer] = Field(description="one for each query, in order")


def read_queries(body: bytes) -> list[bytes]:
    """The lines of a body that are not empty, as yet unread.

    Raises:
        ServiceError: there are none, or too many.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not lines:
        raise ServiceError(ErrorType.INVALID_VALUE, f"the body of {len(body)} bytes has no line",
                           f"send lines such as {_EXAMPLE}")
    if len(lines) > MOST_QUERIES:
        raise ServiceError(ErrorType.INVALID_VALUE, f"the batch has {len(lines)} queries, above the limit of "
                                                    f"{MOST_QUERIES}", "send them in several batches")
    return lines


def answered(index: int, reply: bytes) -> bytes:
    """The JSON of a BatchedAnswer with that of a RetrieveReply."""
    return b'{"index":%d,"status":200,"answer":%b}' % (index, reply)


def refused(index: int, error: ServiceError) -> bytes:
    """The JSON of a BatchedAnswer with an error."""
    entry = {"index": index, "status": error.status, "error": orjson.Fragment(error.body())}
    return orjson.dumps(entry if error.retry_after is None else entry | {"retry_after": error.retry_after})


def batch_body(answers: Iterable[bytes]) -> bytes:
    """The JSON of a RetrieveBatchReply, of those of its answers."""
    return b'{"answers":[%b]}' % b",".join(answers)
