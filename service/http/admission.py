"""Who is searched for, and when: a bounded queue in front of a worker's search threads. Knows no HTTP and no bundle.

A request is refused as soon as it is clear that it cannot be served: the queue is full, or what is ahead of it takes
longer than its deadline leaves. Refusing costs a fraction of searching, so that twice the load that a worker can bear
does not take away what it can bear. docs/decisions/0006-admission.md has the reasons and the measurements.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from index_store.search.moving_average import MovingAverage
from service.contract.errors import ErrorType, ServiceError
from service.retrieval.turn import Result, Turn
from service.telemetry import metrics

_NEWEST = 0.05
"""Share of the newest value in an average."""

_AHEAD = 1
"""Searches that are handed to the threads beyond their number, so that no thread waits for the event loop."""

_CAUTION = 3.0
"""Mean deviations that are kept free for the reply beyond its mean time."""


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


class Admission:
    """The queue of one worker. For one event loop; only `QueuedTurn.run` is called in other threads.

    Args:
        threads: search threads.
        max_queue: requests that may wait for one.
    """

    def __init__(self, threads: int, max_queue: int) -> None:
        self._threads, self._max_queue = threads, max_queue
        metrics.SEARCH_THREADS.set(threads)
        metrics.QUEUE_LIMIT.set(max_queue)
        self._slots = threads + _AHEAD
        self._taken = 0
        self._waiting: deque[_Place] = deque()
        self._service, self._reply = MovingAverage(_NEWEST), MovingAverage(_NEWEST)

    @property
    def reply_seconds(self) -> float:
        """Time to leave for what comes after the search: waiting for the event loop, writing the reply."""
        return self._reply.mean + _CAUTION * self._reply.deviation

    def refuse_if_full(self) -> None:
        """Raises ServiceError `overloaded` if no more requests may wait; for before the body is read."""
        if self._taken >= self._slots and len(self._waiting) >= self._max_queue:
            metrics.REFUSED.labels("overloaded").inc()
            wait = self._wait()
            raise ServiceError(
                ErrorType.OVERLOADED, f"{len(self._waiting)} requests wait for this worker already, as many as may",
                f"try again after the {self._retry_after()} s of the Retry-After header; the queue is about "
                f"{wait * 1000:.0f} ms long", retry_after=self._retry_after())

    def refuse_if_late(self, answer_by: float | None) -> None:
        """Raises ServiceError `deadline_unreachable` if a request that came now could not be answered in time."""
        if answer_by is None:
            return
        left, wait = answer_by - time.perf_counter(), self._wait()
        if wait:
            left -= self.reply_seconds
        # A search narrows when time is short. It should not have to because others are ahead: what is left after the
        # wait must do for a whole search, or be half of what there was where that was too little from the start.
        # With nobody ahead all are let in, or estimates that are too high would never be corrected.
        if left <= 0 or (wait and left - wait < min(self._service.mean, left / 2)):
            raise self._too_late(left, wait)

    def _too_late(self, left: float, wait: float) -> ServiceError:
        metrics.REFUSED.labels("deadline_unreachable").inc()
        return ServiceError(
            ErrorType.DEADLINE_UNREACHABLE, f"{max(left, 0.0) * 1000:.1f} ms are left for the search and about "
            f"{wait * 1000:.1f} ms of it would pass waiting", "give a larger timeout_ms, or try again later",
            retry_after=self._retry_after())

    def _wait(self) -> float:
        """Seconds until a thread would take up a request that came now; a search that runs is half done on average."""
        ahead = len(self._waiting) + self._taken
        if ahead < self._threads:
            return 0.0
        return self._service.mean * (ahead - self._threads / 2) / self._threads

    def _retry_after(self) -> int:
        """Whole seconds, at least one, until the queue as it is has been served."""
        return max(1, math.ceil(self._wait()))

    async def _enter(self, turn: QueuedTurn) -> None:
        if self._taken < self._slots:
            self._taken += 1
            return
        self.refuse_if_full()
        self.refuse_if_late(turn.answer_by)
        place = _Place(turn.answer_by)
        self._waiting.append(place)
        metrics.QUEUED.inc()
        try:
            await place.granted
        except BaseException:
            if place.granted.done() and not place.granted.cancelled() and place.granted.exception() is None:
                self._leave()  # it was granted and cancelled in one go
            else:
                place.granted.cancel()  # `_leave` passes it by
            raise
        finally:
            metrics.QUEUED.dec()
        try:
            gone = await turn.gone()
        except BaseException:
            self._leave()
            raise
        if gone:
            self._leave()
            metrics.REFUSED.labels("client_gone").inc()
            raise ClientLeftError

    def _leave(self) -> None:
        """Hands a slot on to the first who waits and can still be served."""
        now = time.perf_counter() + self.reply_seconds
        while self._waiting:
            place = self._waiting.popleft()
            if place.granted.done():  # whoever waited has given up
                continue
            if place.answer_by is not None and now >= place.answer_by:
                place.granted.set_exception(self._too_late(0.0, 0.0))
                continue
            place.granted.set_result(None)
            return
        self._taken -= 1

    def _served(self, seconds: float) -> None:
        self._service.observe(seconds)

    def _replied(self, seconds: float) -> None:
        self._reply.observe(seconds)


@dataclass
class _Place:
    """A place in the queue; `granted` gets a result when it is its turn, or the refusal when it is too late."""

    answer_by: float | None
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class QueuedTurn(Turn):
    """One request's way through the queue: `async with turn:` waits, `run` searches, `replied` ends it.

    Args:
        admission: the queue.
        answer_by: deadline, in seconds of `time.perf_counter()`; None for none.
        gone: whether the client has left; asked only where the request had to wait.

    Raises:
        ServiceError: at entry, `overloaded` or `deadline_unreachable`.
        ClientLeftError: at entry, the client left while it waited.
    """

    def __init__(self, admission: Admission, answer_by: float | None, gone: Callable[[], Awaitable[bool]]) -> None:
        self.answer_by, self.gone = answer_by, gone
        self._admission = admission
        self._began = self._ended = 0.0

    def run(self, search: Callable[[], Result]) -> Result:
        """Searches, in a search thread.

        Raises:
            ServiceError: `deadline_unreachable`, it is too late already.
        """
        self._began = time.perf_counter()
        if self.answer_by is not None:
            self.search_by = self.answer_by - self._admission.reply_seconds
            if self._began >= self.answer_by:
                raise self._admission._too_late(0.0, 0.0)
        try:
            return search()
        finally:
            self._ended = time.perf_counter()

    def replied(self) -> None:
        """Notes that the reply is written."""
        self._admission._replied(time.perf_counter() - self._ended)

    async def __aenter__(self) -> Self:
        await self._admission._enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ended:
            # What a whole search takes: were narrowed ones to count as they are, they would let in more than can be
            # served whole, which would then have to be narrowed further.
            self._admission._served((self._ended - self._began) / self.coverage)
        self._admission._leave()
