"""The shared level of the user cache: embeddings in Redis, at most one round trip per request, with pairs beside them.

Redis never fails a request: a timeout and the request's deadline bound the wait, a circuit breaker skips Redis after a
failure, and writes wait in a bounded queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service.cache.circuit_breaker import CircuitBreaker, UnavailableError
from service.cache.embedding_record import LAYOUT_VERSION, pack, unpack
from service.cache.redis_connection import FailureReason, failure_reason, open_pool
from service.retrieval.speculated_pairs import MOST_WANTED
from service.settings import Settings
from service.telemetry import metrics
from service.telemetry.request_log import log

_CONNECT_ATTEMPTS = 3
_FLUSH_SECONDS = 3.0
"""How long the end of a worker waits for pending writes: on a busy machine they come late."""

_Write = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Stored:
    """What Redis has: an embedding (1, Du) float32, and the record beside it; None for what it lacks."""

    embedding: NDArray[np.float32] | None
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
        self._pending: asyncio.Queue[_Write] = asyncio.Queue(settings.redis_pending_writes)
        self._writer: asyncio.Task[None] | None = None
        self._asked: set[asyncio.Task[list[bytes | None] | None]] = set()

    async def connect(self) -> None:
        """Opens a connection before the first request, which may have less time than connecting takes."""
        for _ in range(_CONNECT_ATTEMPTS):
            with contextlib.suppress(Exception):  # the first request counts and reports what is wrong
                await self._redis.ping()
                return

    async def get(self, digest: bytes | None, answer_by: float | None = None, beside: bytes | None = None) -> Stored:
        """Looks up an embedding, and another record in the same round trip.

        Args:
            digest: of the user tower's input; None to ask for the other record alone.
            answer_by: deadline of the request, in seconds of `time.perf_counter()`; at most half of the time left is
                spent here. None for no deadline.
            beside: whole key of the other record; None for none.

        Raises:
            UnavailableError: Redis was skipped, failed, or did not answer in time.
        """
        patience = self._timeout
        if answer_by is not None:
            patience = min(patience, (answer_by - time.perf_counter()) / 2)
        if patience <= 0 or not self._breaker.allows():
            raise UnavailableError
        keys = [key for key in (None if digest is None else self._key(digest), beside) if key is not None]
        # A task, because the breaker must learn the outcome even after the request has stopped waiting.
        asked = asyncio.create_task(self._ask(keys))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        done, _ = await asyncio.wait({asked}, timeout=patience)
        reply = asked.result() if done else None
        if reply is None:
            raise UnavailableError
        record = None if beside is None else reply[-1]
        if digest is None or reply[0] is None:
            return Stored(None, record)
        embedding = unpack(keys[0], reply[0], self._dimension)
        if embedding is None:
            metrics.BAD_VALUES.inc()
        return Stored(embedding, record)

    def put(self, digest: bytes, embedding: NDArray[np.float32]) -> None:
        """Queues a write, or drops and counts it if the queue is full."""
        key = self._key(digest)
        self._queue(partial(self._redis.set, key, pack(key, embedding), ex=self._ttl))

    def remove(self, digest: bytes) -> None:
        """Queues a removal, or drops and counts it likewise."""
        self._queue(partial(self._redis.delete, self._key(digest)))

    def want(self, wanted: bytes, user_id: bytes) -> None:
        """Queues an entry in the sorted set of users who should get pairs, or drops and counts it likewise."""
        self._queue(partial(self._want, wanted, user_id))

    async def close(self) -> None:
        """Flushes pending writes for at most three seconds, then disconnects."""
        if self._writer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pending.join(), _FLUSH_SECONDS)
            self._writer.cancel()
        for asked in self._asked:
            asked.cancel()
        await self._redis.aclose()

    async def _ask(self, keys: list[bytes]) -> list[bytes | None] | None:
        """Sends the GETs together and reports their outcome to the breaker; None if one failed."""
        try:
            async with asyncio.timeout(self._timeout):
                records = await self._read(keys)
            for record in records:
                if isinstance(record, Exception) and not _is_of_another_type(record):
                    raise record
        except Exception as error:  # whatever Redis or its client raises, the request goes on
            self._failed("get", error, self._breaker)
            return None
        self._worked(self._breaker)
        # Another type, such as a list, is a bad value in a Redis that works.
        return [record if record is None or isinstance(record, bytes) else b"" for record in records]

    async def _read(self, keys: list[bytes]) -> list[Any]:
        """What Redis has under each key, or the error that it answers."""
        if len(keys) > 1:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.get(key)
                return list(await pipeline.execute(raise_on_error=False))
        try:
            return [await self._redis.get(keys[0])]
        except ResponseError as error:
            return [error]

    async def _want(self, wanted: bytes, user_id: bytes) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.zadd(wanted, {user_id: time.time()})
            pipeline.zremrangebyrank(wanted, 0, -MOST_WANTED - 1)
            pipeline.expire(wanted, self._ttl)
            await pipeline.execute()

    def _queue(self, write: _Write) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        try:
            self._pending.put_nowait(write)
        except asyncio.QueueFull:
            metrics.DROPPED_WRITES.inc()

    async def _write(self) -> None:
        while True:
            write = await self._pending.get()
            try:
                if not self._write_breaker.allows() or not self._breaker.allows():
                    metrics.DROPPED_WRITES.inc()
                    continue
                async with asyncio.timeout(self._timeout):
                    await write()
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


def _is_of_another_type(error: Exception) -> bool:
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")
