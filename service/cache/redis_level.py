"""The shared level of the user cache: embeddings in Redis, at most one round trip per request.

Redis never fails a request: a timeout and the request's deadline bound the wait, a circuit breaker skips Redis after a
failure, and writes wait in a bounded queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service.cache.circuit_breaker import CircuitBreaker, UnavailableError
from service.cache.embedding_record import LAYOUT_VERSION, pack, unpack
from service.cache.redis_connection import FailureReason, failure_reason, open_pool
from service.settings import Settings
from service.telemetry import metrics
from service.telemetry.request_log import log

_CONNECT_ATTEMPTS = 3
_FLUSH_SECONDS = 3.0
"""How long the end of a worker waits for pending writes: on a busy machine they come late."""


@dataclass(frozen=True)
class _Reply:
    record: bytes | None


class RedisLevel:
    """Embeddings of one user tower in Redis.

    Args:
        settings: `redis_url`, which must be set, and the other `redis_*` ones.
        tower_version: hash of the user tower's graph and tables; part of the key.
        dimension: Du.

    Raises:
        SettingsError: the URL cannot be used.
    """

    def __init__(self, settings: Settings, tower_version: str, dimension: int) -> None:
        self._timeout = settings.redis_timeout_ms / 1000
        self._ttl = settings.redis_ttl_seconds
        self._dimension = dimension
        self._prefix = f"user-embedding:{LAYOUT_VERSION}:{tower_version[:16]}:".encode()
        self._redis = Redis(connection_pool=open_pool(settings, self._timeout))
        self._breaker = CircuitBreaker(settings.redis_pause_seconds)
        self._write_breaker = CircuitBreaker(settings.redis_pause_seconds)  # a full Redis can still be read
        self._failure: FailureReason | None = None
        self._pending: asyncio.Queue[tuple[bytes, bytes | None]] = asyncio.Queue(settings.redis_pending_writes)
        self._writer: asyncio.Task[None] | None = None
        self._asked: set[asyncio.Task[_Reply | None]] = set()

    async def connect(self) -> None:
        """Opens a connection before the first request, which may have less time than connecting takes."""
        for _ in range(_CONNECT_ATTEMPTS):
            with contextlib.suppress(Exception):  # the first request counts and reports what is wrong
                await self._redis.ping()
                return

    async def get(self, digest: bytes, answer_by: float | None = None) -> NDArray[np.float32] | None:
        """Looks up an embedding (1, Du) float32; None if Redis does not have it.

        Args:
            digest: of the user tower's input.
            answer_by: deadline of the request, in seconds of `time.perf_counter()`; at most half of the time left is
                spent here. None for no deadline.

        Raises:
            UnavailableError: Redis was skipped, failed, or did not answer in time.
        """
        patience = self._timeout
        if answer_by is not None:
            patience = min(patience, (answer_by - time.perf_counter()) / 2)
        if patience <= 0 or not self._breaker.allows():
            raise UnavailableError
        key = self._key(digest)
        # A task, because the breaker must learn the outcome even after the request has stopped waiting.
        asked = asyncio.create_task(self._ask(key))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        done, _ = await asyncio.wait({asked}, timeout=patience)
        reply = asked.result() if done else None
        if reply is None:
            raise UnavailableError
        if reply.record is None:
            return None
        embedding = unpack(key, reply.record, self._dimension)
        if embedding is None:
            metrics.BAD_VALUES.inc()
        return embedding

    def put(self, digest: bytes, embedding: NDArray[np.float32]) -> None:
        """Queues a write, or drops and counts it if the queue is full."""
        key = self._key(digest)
        self._queue(key, pack(key, embedding))

    def remove(self, digest: bytes) -> None:
        """Queues a removal, or drops and counts it likewise."""
        self._queue(self._key(digest), None)

    async def close(self) -> None:
        """Flushes pending writes for at most three seconds, then disconnects."""
        if self._writer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pending.join(), _FLUSH_SECONDS)
            self._writer.cancel()
        for asked in self._asked:
            asked.cancel()
        await self._redis.aclose()

    async def _ask(self, key: bytes) -> _Reply | None:
        """Sends the GET and reports its outcome to the breaker; None if it failed."""
        try:
            async with asyncio.timeout(self._timeout):
                record = await self._redis.get(key)
        except Exception as error:  # whatever Redis or its client raises, the request goes on
            if not isinstance(error, ResponseError) or not str(error).startswith("WRONGTYPE"):
                self._failed("get", error, self._breaker)
                return None
            record = b""  # another type, such as a list: a bad value in a Redis that works
        self._worked(self._breaker)
        return _Reply(record if record is None or isinstance(record, bytes) else b"")

    def _queue(self, key: bytes, record: bytes | None) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        try:
            self._pending.put_nowait((key, record))
        except asyncio.QueueFull:
            metrics.DROPPED_WRITES.inc()

    async def _write(self) -> None:
        while True:
            key, record = await self._pending.get()
            try:
                if not self._write_breaker.allows() or not self._breaker.allows():
                    metrics.DROPPED_WRITES.inc()
                    continue
                async with asyncio.timeout(self._timeout):
                    if record is None:
                        await self._redis.delete(key)
                    else:
                        await self._redis.set(key, record, ex=self._ttl)
                self._worked(self._write_breaker)
                self._worked(self._breaker)
            except ResponseError as error:  # out of memory or read-only
                self._failed("set", error, self._write_breaker)
            except Exception as error:  # see `_ask`
                self._failed("set", error, self._breaker)
            finally:
                self._pending.task_done()

    def _key(self, digest: bytes) -> bytes:
        return self._prefix + digest.hex().encode()

    def _worked(self, breaker: CircuitBreaker) -> None:
        if breaker.success():
            log("redis_recovered")

    def _failed(self, operation: str, error: Exception, breaker: CircuitBreaker) -> None:
        reason = failure_reason(error)
        metrics.REDIS_FAILURES.labels(operation, reason).inc()
        changed, self._failure = reason != self._failure, reason
        if breaker.failure() or changed:
            # Without the error's text, which may contain the URL with its password.
            log("redis_unavailable", operation=operation, error=type(error).__name__, reason=reason)
