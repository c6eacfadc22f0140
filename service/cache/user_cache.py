"""Cache of user embeddings: a level in the memory of each worker, then Redis if one is configured."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.cache.circuit_breaker import UnavailableError
from service.contract.answer import CacheLookup

if TYPE_CHECKING:
    from service.cache.redis_level import RedisLevel


class UserCache:
    """Two-level EmbeddingCache. An embedding is a function of its key, so entries never go stale.

    Args:
        entries: capacity of the level in memory; the least recently used embedding is evicted first.
        redis: the shared level, if any.
    """

    def __init__(self, entries: int, redis: RedisLevel | None) -> None:
        self._entries = entries
        self._local: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._redis = redis

    async def get(self, key: bytes, answer_by: float | None = None) -> CacheLookup:
        """Looks in memory, then in Redis; an embedding found in Redis is kept in memory.

        Args:
            key: digest of the user tower's input.
            answer_by: deadline of the request, in seconds of `time.perf_counter()`; None for no deadline.
        """
        embedding = self._local.get(key)
        if embedding is not None:
            self._local.move_to_end(key)
            return CacheLookup(embedding, "local")
        if self._redis is None:
            return CacheLookup(None, "miss")
        try:
            embedding = await self._redis.get(key, answer_by)
        except UnavailableError:
            return CacheLookup(None, "miss", ("redis",))
        if embedding is None:
            return CacheLookup(None, "miss")
        self._keep(key, embedding)
        return CacheLookup(embedding, "redis")

    def put(self, key: bytes, embedding: NDArray[np.float32]) -> None:
        """Stores an embedding (1, Du) in both levels; the write to Redis happens in the background."""
        self._keep(key, embedding)
        if self._redis is not None:
            self._redis.put(key, embedding)

    def remove(self, key: bytes) -> None:
        """Removes an embedding from this worker's memory, and from Redis in the background."""
        self._local.pop(key, None)
        if self._redis is not None:
            self._redis.remove(key)

    async def connect(self) -> None:
        """Connects to Redis if one is configured; a Redis that cannot be reached is no error."""
        if self._redis is not None:
            await self._redis.connect()

    async def close(self) -> None:
        """Flushes pending writes to Redis and disconnects."""
        if self._redis is not None:
            await self._redis.close()

    def _keep(self, key: bytes, embedding: NDArray[np.float32]) -> None:
        self._local[key] = embedding
        self._local.move_to_end(key)
        if len(self._local) > self._entries:
            self._local.popitem(last=False)
