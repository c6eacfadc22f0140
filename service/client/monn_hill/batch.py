"""A batch of queries as steps: those that found no room are sent again, the answers of the others are kept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from monn_hill import calls
from monn_hill.errors import RetrievalError, UnavailableError, error_in
from monn_hill.schemas import BatchedAnswer, RetrieveReply, RetrieveRequest
from monn_hill.steps import SHORTEST_TRY, Caller, Pause, Steps

Answered = RetrieveReply | RetrievalError


def answers(caller: Caller, queries: Sequence[RetrieveRequest], timeout: float | None) -> Steps[list[Answered]]:
    """The reply or the error of each query, in order, within one deadline.

    Raises:
        RetrievalError: the batch was refused as a whole, or no reply came.
    """
    deadline = caller.deadline(timeout)
    found: dict[int, Answered] = {}
    waiting = list(range(len(queries)))
    for number in itertools.count(1):
        if not waiting:
            break
        try:
            reply = yield from caller.tries(calls.retrieve_batch([queries[index] for index in waiting]), deadline)
        except RetrievalError:
            if not found:
                raise
            break  # each that waits has the error of its last try
        found |= {index: _answered(one) for index, one in zip(waiting, reply["answers"], strict=True)}
        again = {index: error for index in waiting if isinstance(error := found[index], UnavailableError)}
        pause = max((caller.pause(error, number, deadline.left) or 0.0 for error in again.values()), default=0.0)
        if deadline.left < pause + SHORTEST_TRY:
            break
        waiting = list(again)
        if waiting:
            yield Pause(pause)
    yield from caller.compare_versions(deadline)
    return [found[index] for index in range(len(queries))]


def _answered(one: BatchedAnswer) -> Answered:
    answer = one.get("answer")
    return error_in(one["error"] or {}, one["status"], one.get("retry_after")) if answer is None else answer
