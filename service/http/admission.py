"""Admission control: a bounded queue per worker in front of its search threads.

A request is refused as soon as it is clear that it cannot be served: the queue is full, or the requests ahead of it
take longer than its deadline allows. A refusal costs a fraction of a search, so goodput holds at twice the load that a
worker can handle. docs/decisions/0006-admission.md has the reasons and the measurements.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from index_store.search.moving_average import MovingAverage
from service.contract.errors import ErrorType, ServiceError
from service.retrieval.search_queue import DeadlinePassedError, Timed
from service.telemetry import metrics

_NEWEST = 0.05
"""Weight of the newest value in an average."""

_AHEAD = 1
"""Searches that are handed to the threads beyond their number, so that no thread waits for the event loop."""

_CAUTION = 3.0
"""Time reserved for the reply beyond its mean, in mean deviations."""


class ClientLeftError(Exception):
    """The client has disconnected, so the request is dropped."""


class Admission:
    """The queue of one worker; used in its event loop only.

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
                ErrorType.OVERLOADED, f"{len(self._waiting)} requests wait for this worker already, the most it allows",
                f"try again after the {self._retry_after()} s of the Retry-After header; the queue is about "
                f"{wait * 1000:.0f} ms long", retry_after=self._retry_after())

    def refuse_if_late(self, answer_by: float | None) -> None:
        """Raises ServiceError `deadline_unreachable` if a request that came now could not be answered in time."""
        if answer_by is None:
            return
        left, wait = answer_by - time.perf_counter(), self._wait()
        if wait:
            left -= self.reply_seconds
        # A search narrows when time is short, which should not happen because others are ahead: the time left after
        # the wait must be enough for a whole search, or half of the time that there was where that was too short from
        # the start. With nobody ahead every request is let in, or too high an estimate would never be corrected.
        if left <= 0 or (wait and left - wait < min(self._service.mean, left / 2)):
            raise self._too_late(left, wait)

    async def run(self, search: Callable[[float | None], Awaitable[Timed]], answer_by: float | None,
                  client_left: Callable[[], Awaitable[bool]]) -> Timed:
        """Waits for a slot and runs a search in it.

        Args:
            search: see SearchQueue.run.
            answer_by: deadline, in seconds of `time.perf_counter()`; None for none.
            client_left: whether the client has disconnected; asked only where the request had to wait.

        Raises:
            ServiceError: `overloaded` or `deadline_unreachable`.
            ClientLeftError: the client disconnected while the request waited.
        """
        waited = await self._take_slot(answer_by)
        try:
            if waited and await client_left():
                metrics.REFUSED.labels("client_gone").inc()
                raise ClientLeftError
            found = await search(None if answer_by is None else answer_by - self.reply_seconds)
            # A narrowed search counts as long as a whole one would have taken. Its real time would let in more
            # requests than can be served whole, and their searches would have to be narrowed further.
            self._service.observe((found.ended - found.began) / found.coverage)
            return found
        except DeadlinePassedError as error:
            raise self._too_late(0.0, 0.0) from error
        finally:
            self._leave_slot()

    def observe_reply(self, seconds: float) -> None:
        """Adds the time from the end of a search to its written reply to the average."""
        self._reply.observe(seconds)

    def _too_late(self, left: float, wait: float) -> ServiceError:
        metrics.REFUSED.labels("deadline_unreachable").inc()
        return ServiceError(
            ErrorType.DEADLINE_UNREACHABLE, f"{max(left, 0.0) * 1000:.1f} ms are left for the search and about "
            f"{wait * 1000:.1f} ms of it would pass in the queue", "give a larger timeout_ms, or try again later",
            retry_after=self._retry_after())

    def _wait(self) -> float:
        """Seconds until a thread would start on a request arriving now; a running search is half done on average."""
        ahead = len(self._waiting) + self._taken
        if ahead < self._threads:
            return 0.0
        return self._service.mean * (ahead - self._threads / 2) / self._threads

    def _retry_after(self) -> int:
        """Whole seconds, at least one, until the current queue has been served."""
        return max(1, math.ceil(self._wait()))

    async def _take_slot(self, answer_by: float | None) -> bool:
        """Takes a slot, waiting for one if necessary; returns whether the request had to wait."""
        if self._taken < self._slots:
            self._taken += 1
            return False
        self.refuse_if_full()
        self.refuse_if_late(answer_by)
        place = _Place(answer_by)
        self._waiting.append(place)
        metrics.QUEUED.inc()
        try:
            await place.granted
        except BaseException:
            if place.granted.done() and not place.granted.cancelled() and place.granted.exception() is None:
                self._leave_slot()  # it was granted and cancelled in one go
            else:
                place.granted.cancel()  # `_leave_slot` passes it by
            raise
        finally:
            metrics.QUEUED.dec()
        return True

    def _leave_slot(self) -> None:
        """Hands a slot on to the first waiting request that can still be served in time."""
        now = time.perf_counter() + self.reply_seconds
        while self._waiting:
            place = self._waiting.popleft()
            if place.granted.done():  # its request was cancelled
                continue
            if place.answer_by is not None and now >= place.answer_by:
                place.granted.set_exception(self._too_late(0.0, 0.0))
                continue
            place.granted.set_result(None)
            return
        self._taken -= 1


@dataclass
class _Place:
    """A place in the queue; `granted` gets a result when a slot is free, or the refusal once it is too late."""

    answer_by: float | None
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class RequestQueue:
    """The admission queue as one request sees it; a SearchQueue. The fields are arguments of Admission.run."""

    admission: Admission
    answer_by: float | None
    client_left: Callable[[], Awaitable[bool]]

    async def run(self, search: Callable[[float | None], Awaitable[Timed]]) -> Timed:
        return await self.admission.run(search, self.answer_by, self.client_left)
