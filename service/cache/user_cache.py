"""Cache of user embeddings: a level in the memory of each worker, then Redis if one is configured."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.cache.circuit_breaker import UnavailableError
from service.contract.answer import CacheLookup, CacheUse, DegradedReason
from service.retrieval.speculated_pairs import PairsAsked

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

    async def get(self, key: bytes, answer_by: float | None = None, asked: PairsAsked | None = None) -> CacheLookup:
        """Looks in memory, then in Redis; an embedding found in Redis is kept in memory.

        Pairs are asked for in the same round trip, unless this process holds what Redis has of them.

        Args:
            key: digest of the user tower's input.
            answer_by: deadline of the request, in seconds of `time.perf_counter()`; None for no deadline.
            asked: the user whose pairs are wanted too; None for nobody.
        """
        embedding = self._local.get(key)
        is_local = embedding is not None
        if is_local:
            self._local.move_to_end(key)
        # Once, since what is held may end while Redis is asked for the embedding.
        held = None if asked is None else asked.held
        unheld = asked if held is None else None
        degraded: tuple[DegradedReason, ...] = ()
        if self._redis is not None and (unheld is not None or not is_local):
            try:
                stored = await self._redis.get(None if is_local else key, answer_by,
                                               None if unheld is None else unheld.key)
            except UnavailableError:
                degraded = ("redis",)
            else:
                if stored.embedding is not None:
                    embedding = stored.embedding
                    self._keep(key, embedding)
                if unheld is not None:
                    if unheld.keep(stored.record):
                        self._redis.want(unheld.wanted, unheld.user_id)
                    held = unheld.held
        use: CacheUse = "local" if is_local else "miss" if embedding is None else "redis"
        return CacheLookup(embedding, use, degraded, None if held is None else held.corrections)

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
