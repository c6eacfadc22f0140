"""The worker: takes the users who want pairs from Redis, the last one to ask first, and stores their pairs."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import cast

from redis.asyncio import Redis

from service.cache.redis_connection import failure_reason
from service.speculation.pair_maker import PairMaker
from service.telemetry.request_log import log

_IDLE_SECONDS = 0.1
_PAUSE_SECONDS = 1.0
_REPORT_SECONDS = 10.0


class Worker:
    """Makes pairs of one bundle.

    Args:
        redis: the shared cache of the service.
        maker: of the bundle.
        lives: seconds that pairs are stored.
    """

    def __init__(self, redis: Redis, maker: PairMaker, lives: int) -> None:
        self._redis, self._maker, self._lives = redis, maker, lives
        self._failed = False
        self._users = self._made = 0
        self._since, self._busy = time.monotonic(), 0.0

    async def step(self) -> bool:
        """Makes the pairs of one user, if somebody wants some; Redis may come and go.

        Returns:
            Whether there was a user.
        """
        try:
            taken = await self._redis.zpopmax(self._maker.keys.wanted, 1)
            if taken:
                await self._make(cast(bytes, taken[0][0]))
            if self._failed:
                log("speculation_recovered")
            self._failed = False
        except Exception as error:  # whatever it is, mostly of Redis: the service does not depend on this
            if not self._failed:
                log("speculation_failed", error=type(error).__name__, reason=failure_reason(error))
            self._failed = True
            await asyncio.sleep(_PAUSE_SECONDS)
            return False
        if not taken:
            await asyncio.sleep(_IDLE_SECONDS)
        return bool(taken)

    async def report(self) -> None:
        """Logs what was made since the last report, if it is time and something was."""
        seconds = time.monotonic() - self._since
        if seconds < _REPORT_SECONDS or not self._users:
            return
        waiting = 0
        with suppress(Exception):
            waiting = await self._redis.zcard(self._maker.keys.wanted)
        log("speculated", users=self._users, pairs=self._made,
            pairs_per_second=round(self._made / max(self._busy, 1e-9)), busy=round(self._busy / seconds, 3),
            waiting=waiting)
        self._users = self._made = 0
        self._since, self._busy = time.monotonic(), 0.0

    async def _make(self, user_id: bytes) -> None:
        began = time.perf_counter()
        pairs = self._maker.made(user_id)
        if pairs is not None:
            key = self._maker.keys.of_user(user_id)
            await self._redis.set(key, pairs.packed(key), ex=self._lives)
            self._made += len(pairs.positions)
        self._users += 1
        self._busy += time.perf_counter() - began
