"""Redis killed, restarted, paused, full, and filled with garbage, under load: no request may fail for it.

The workers keep one embedding each in memory, so that nearly every request asks Redis: the worst case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from loadtest.chaos.result import Outcome, Result, by_phase
from loadtest.chaos.site import Site
from loadtest.chaos.traffic import Traffic
from loadtest.redis_server import RedisServer

_WINDOW = 20
_GARBAGE_PAUSE_SECONDS = 0.02


def redis_killed(site: Site) -> Result:
    """Dead for a while, then started again, empty."""
    return _fault(site, "redis killed", _killed)


def redis_restarted(site: Site) -> Result:
    """Killed and started again at once, empty."""
    return _fault(site, "redis restarted", _restarted)


def redis_paused(site: Site) -> Result:
    """SIGSTOP: connections stay open, no answer comes."""
    return _fault(site, "redis paused", _paused)


def redis_garbage(site: Site) -> Result:
    """All values are overwritten again and again: noise, cut off, of another key, of another type."""
    return _fault(site, "redis garbage", _garbage)


def redis_full(site: Site) -> Result:
    """Its memory is used up, and it refuses to write."""
    return _fault(site, "redis full", _full)


Mend = Callable[[], None]


def _fault(site: Site, name: str, broken: Callable[[RedisServer], Mend | None]) -> Result:
    """Load before, during and after; `broken` begins the fault and returns what ends it, None if it is over already."""
    folder = site.folder / name.replace(" ", "_")
    folder.mkdir()
    scale = site.scale
    with RedisServer.start(folder) as redis:
        replica = site.replica(site.bundle, REDIS_URL=redis.url, RETRIEVAL_USER_CACHE_ENTRIES="1")
        with Traffic([replica.address], site.answers, scale.rate) as traffic:
            traffic.spend(scale.seconds / 2)  # fills Redis
            traffic.phase("before")
            traffic.spend(scale.seconds)
            traffic.phase("during")
            mend = broken(redis)
            mended = time.perf_counter()
            traffic.spend(scale.seconds)
            if mend is not None:
                mend()
                mended = time.perf_counter()
            traffic.phase("after")
            traffic.spend(scale.seconds)
        replica.terminate()
    phases = by_phase(traffic.outcomes, traffic.marks)
    hits = {phase: _share(outcomes) for phase, outcomes in phases.items()}
    first, half = _hits_return([one for one in traffic.outcomes if one.at >= mended], mended, hits["before"])
    problems = [] if half is not None else ["the hits did not come back"]
    if not hits["before"]:
        problems.append("there were no hits before")
    result = traffic.result(name, {"hit_share": hits, "first_hit_s": first, "half_of_the_hits_back_s": half}, problems)
    added = result.phases["during"]["p99_ms"] - result.phases["before"]["p99_ms"]
    result.facts["added_p99_ms"] = round(added, 2)
    return result


def _share(outcomes: Sequence[Outcome]) -> float:
    return round(sum(one.user_cache == "redis" for one in outcomes) / max(1, len(outcomes)), 3)


def _hits_return(outcomes: Sequence[Outcome], mended: float, before: float) -> tuple[float | None, float | None]:
    """Seconds until the first hit, and until half as many of the last requests are hits as before."""
    hits = [one.at for one in outcomes if one.user_cache == "redis"]
    windows = (outcomes[at:at + _WINDOW] for at in range(len(outcomes) - _WINDOW + 1))
    half = next((window[-1].at for window in windows if _share(window) >= before / 2), None)
    return (round(hits[0] - mended, 3) if hits else None), (None if half is None else round(half - mended, 3))


def _killed(redis: RedisServer) -> Mend:
    redis.kill()
    return redis.launch


def _restarted(redis: RedisServer) -> None:
    redis.kill()
    redis.launch()


def _paused(redis: RedisServer) -> Mend:
    redis.freeze()
    return redis.thaw


def _full(redis: RedisServer) -> Mend:
    keys = list(redis.client.scan_iter())
    redis.client.delete(*keys[::2])  # so that there is something to write
    redis.client.config_set("maxmemory-policy", "noeviction")
    redis.client.config_set("maxmemory", 1)

    def mend() -> None:
        redis.client.config_set("maxmemory", 0)

    return mend


def _garbage(redis: RedisServer) -> Mend:
    stop = threading.Event()
    thread = threading.Thread(target=_overwrite, args=(redis, stop))
    thread.start()

    def mend() -> None:
        stop.set()
        thread.join()

    return mend


def _overwrite(redis: RedisServer, stop: threading.Event) -> None:
    random, previous = np.random.default_rng(0), b""
    while not stop.wait(_GARBAGE_PAUSE_SECONDS):
        for key in redis.client.scan_iter():
            value = redis.client.get(key) if redis.client.type(key) == b"string" else None
            if not isinstance(value, bytes):
                continue
            kind = random.integers(4)
            redis.client.delete(key)
            if kind == 3:
                redis.client.rpush(key, value)
            else:
                redis.client.set(key, (random.bytes(len(value)), value[:len(value) // 2], previous)[kind])
            previous = value
