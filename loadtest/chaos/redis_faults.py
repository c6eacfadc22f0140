"""Redis killed, restarted, paused, filled with garbage, and full, under load: no request may fail.

Each worker keeps one embedding in memory, so that nearly every request goes to Redis: the worst case.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from redis.exceptions import ResponseError

from loadtest.chaos.result import Outcome, Result, judged
from loadtest.chaos.testbed import Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.processes.redis_server import RedisServer

_WINDOW = 20
_GARBAGE_PAUSE_SECONDS = 0.02

Repair = Callable[[], None]


def redis_faults(testbed: Testbed) -> list[Result]:
    """One fault after the other on the same Redis, each repaired before the next.

    Killed: down for a while, then empty. Restarted: killed and started again at once, empty. Paused: SIGSTOP;
    connections stay open and get no answer. Garbage: all values are repeatedly overwritten by noise, by a truncated
    value, by that of another key or by one of another type. Full: half of the values are gone, and writes are refused.
    """
    faults: dict[str, Callable[[RedisServer], Repair | None]] = {
        "killed": _killed, "restarted": _restarted, "paused": _paused, "garbage": _garbage, "full": _full}
    repaired: dict[str, float] = {}
    with RedisServer.start(testbed.folder) as redis:
        replica = testbed.replica(testbed.bundle, REDIS_URL=redis.url, RETRIEVAL_USER_CACHE_ENTRIES="1",
                               RETRIEVAL_REDIS_TIMEOUT_MS=str(testbed.scale.redis_timeout_ms))
        with Traffic([replica.address], testbed.answers, testbed.scale.rate) as traffic:
            traffic.spend(testbed.scale.seconds)  # fills Redis
            traffic.phase("before")
            traffic.spend(testbed.scale.seconds)
            for fault, breaks in faults.items():
                traffic.phase(f"during {fault}")
                repair = breaks(redis)
                repaired[fault] = time.perf_counter()
                traffic.spend(testbed.scale.seconds)
                if repair is not None:
                    repair()
                    repaired[fault] = time.perf_counter()
                traffic.phase(f"after {fault}")
                traffic.spend(testbed.scale.seconds)
        replica.stop()
    phases = traffic.phases()
    return [_result(fault, {"before": phases["before"], "during": phases[f"during {fault}"],
                            "after": phases[f"after {fault}"]}, repaired[fault]) for fault in faults]


def _result(fault: str, phases: Mapping[str, Sequence[Outcome]], repaired: float) -> Result:
    hits = {phase: _share(outcomes) for phase, outcomes in phases.items()}
    since = [one for one in (*phases["during"], *phases["after"]) if one.at >= repaired]
    first, half = _hits_return(since, repaired, hits["before"])
    lost = not hits["before"] or half is None
    problems = [f"hits fell from {hits['before']:.0%} before to {hits['after']:.0%} after the fault"] if lost else []
    result = judged(f"redis {fault}", phases, {"hit_share": hits, "first_hit_s": first,
                                               "half_of_the_hits_back_s": half}, problems)
    added = result.phases["during"]["p99_ms"] - result.phases["before"]["p99_ms"]
    return replace(result, facts={"added_p99_ms": round(added, 2), **result.facts})


def _share(outcomes: Sequence[Outcome]) -> float:
    return round(sum(one.user_cache == "redis" for one in outcomes) / max(1, len(outcomes)), 3)


def _hits_return(outcomes: Sequence[Outcome], repaired: float, before: float) -> tuple[float | None, float | None]:
    """Seconds until the first hit, and until the recent share of hits is half of that before."""
    hits = [one.at for one in outcomes if one.user_cache == "redis"]
    windows = (outcomes[at:at + _WINDOW] for at in range(len(outcomes) - _WINDOW + 1))
    half = next((window[-1].at for window in windows if _share(window) >= before / 2), None)
    return (round(hits[0] - repaired, 3) if hits else None), (None if half is None else round(half - repaired, 3))


def _killed(redis: RedisServer) -> Repair:
    redis.kill()
    return redis.launch


def _restarted(redis: RedisServer) -> None:
    redis.kill()
    redis.launch()


def _paused(redis: RedisServer) -> Repair:
    redis.freeze()
    return redis.thaw


def _full(redis: RedisServer) -> Repair:
    keys = list(redis.client.scan_iter())
    redis.client.delete(*keys[::2])  # so that there is something to write
    redis.client.config_set("maxmemory-policy", "noeviction")
    redis.client.config_set("maxmemory", 1)

    def repair() -> None:
        redis.client.config_set("maxmemory", 0)

    return repair


def _garbage(redis: RedisServer) -> Repair:
    stop = threading.Event()
    thread = threading.Thread(target=_overwrite, args=(redis, stop))
    thread.start()

    def repair() -> None:
        stop.set()
        thread.join()

    return repair


def _overwrite(redis: RedisServer, stop: threading.Event) -> None:
    random, previous = np.random.default_rng(0), b""
    while not stop.wait(_GARBAGE_PAUSE_SECONDS):
        for key in redis.client.scan_iter():
            with contextlib.suppress(ResponseError):  # a list already, or the service wrote in between
                value = redis.client.get(key)
                if not isinstance(value, bytes):
                    continue
                kind = random.integers(4)
                redis.client.delete(key)
                if kind == 3:
                    redis.client.rpush(key, value)
                else:
                    redis.client.set(key, (random.bytes(len(value)), value[:len(value) // 2], previous)[kind])
                previous = value
