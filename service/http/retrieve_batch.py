"""The queries of a batch, each answered, counted and logged as one of POST /retrieve."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence

from service.contract.errors import ServiceError, internal_error
from service.contract.retrieve_batch import MOST_QUERIES, answered, refused
from service.http.admission import ClientLeftError
from service.http.observer import CLIENT_GONE, AccessEntry, note

_LONGEST_ID = 64 - len(f".{MOST_QUERIES - 1}")
"""Characters of the batch's id in that of a query, which then fits where a request id does."""

Answer = Callable[[bytes, AccessEntry], Awaitable[bytes]]
"""Makes the JSON of a RetrieveReply from a body, or raises ServiceError."""


async def answer_batch(queries: Sequence[bytes], answer: Answer, batch: AccessEntry, *, at_once: int,
                       client_left: Callable[[], Awaitable[bool]]) -> list[bytes]:
    """The JSON of a BatchedAnswer for each query, in order.

    Args:
        queries: their bodies.
        answer: answers one.
        batch: the entry of the whole batch; each query has one of its own, which begins when its turn comes.
        at_once: most queries that are being answered or wait in the queue. However long the batch is, single requests
            find the queue longer by so many alone.
        client_left: whether the client has disconnected.

    Raises:
        ClientLeftError: it has.
    """
    answers = [b""] * len(queries)
    waiting = iter(enumerate(queries))

    async def answer_some() -> None:
        for index, query in waiting:
            if await client_left():  # lets other requests have the event loop, too
                raise ClientLeftError
            answers[index] = await _answer_one(index, query, answer, batch)

    tasks = [asyncio.create_task(answer_some()) for _ in range(min(at_once, len(queries)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return answers


async def _answer_one(index: int, query: bytes, answer: Answer, batch: AccessEntry) -> bytes:
    entry = AccessEntry(f"{batch.request_id[:_LONGEST_ID]}.{index}", time.perf_counter(), endpoint="/retrieve",
                        status=CLIENT_GONE)
    if batch.trace is not None:
        entry.trace = batch.trace.part(entry.started)
    try:
        found = answered(index, await answer(query, entry))
        entry.status = 200
    except ServiceError as error:
        found = refused(index, error)
        entry.status, entry.error_type = error.status, error.error_type
    except Exception:  # a defect, which the other queries need not share
        defect = internal_error()
        found = refused(index, defect)
        entry.status, entry.error_type = defect.status, defect.error_type
        entry.details["traceback"] = traceback.format_exc()
    finally:
        note(entry)
    return found
