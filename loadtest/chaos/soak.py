"""Soak test: growth of memory, file descriptors and threads under steady requests and swaps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import psutil

from loadtest.chaos.result import Result, judged
from loadtest.chaos.swaps import swap
from loadtest.chaos.testbed import FIRST, SECOND, Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.processes.redis_server import RedisServer
from loadtest.processes.service_process import ServiceProcess

_MIB = 2**20
_SAMPLES = 120
_WARM_UP_SHARE = 1 / 3
_MOST_GROWTH = 0.10


@dataclass(frozen=True)
class _Sample:
    """All processes of a service at one time.

    Attributes:
        seconds: since the start.
        resident: bytes, including pages of mapped files.
        own: bytes without them, where a leak would show.
        files: open files, without connections, which depend on the clients.
    """

    seconds: float
    resident: int
    own: int
    files: int
    threads: int


def soak(testbed: Testbed) -> list[Result]:
    """Steady load with Redis and regular swaps; compares the end with the state after the warm-up."""
    scale, serving = testbed.scale, FIRST
    with RedisServer.start(testbed.folder) as redis:
        replica = testbed.replica(testbed.store(FIRST), REDIS_URL=redis.url, RETRIEVAL_USER_CACHE_ENTRIES="50")
        samples: list[_Sample] = []
        with Traffic([replica.address], testbed.answers, scale.rate) as traffic:
            began = swapped = time.monotonic()
            for phase, until in (("warming", _WARM_UP_SHARE), ("steady", 1.0)):
                traffic.phase(phase)
                while (now := time.monotonic()) < began + until * scale.soak_seconds:
                    samples.append(_sample(replica, now - began))
                    if now > swapped + scale.soak_swap_seconds:
                        serving = SECOND if serving == FIRST else FIRST
                        swap(replica, serving)
                        swapped = time.monotonic()  # however long it took, there are samples before the next one
                    traffic.spend(scale.soak_seconds / _SAMPLES)
        replica.stop()
    return [judged("soak", traffic.phases(), *_growth(samples, scale.soak_seconds))]


def _sample(replica: ServiceProcess, seconds: float) -> _Sample:
    processes = [psutil.Process(pid) for pid in (replica.process.pid, *replica.live_worker_ids())]
    memory = [process.memory_info() for process in processes]
    files = sum(process.num_fds() - len(process.net_connections("tcp")) for process in processes)
    return _Sample(seconds, sum(one.rss for one in memory), sum(one.rss - one.shared for one in memory), files,
                   sum(process.num_threads() for process in processes))


def _growth(samples: list[_Sample], seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Facts and problems: each quantity in the first and the last third after the warm-up."""
    steady = [sample for sample in samples if sample.seconds >= _WARM_UP_SHARE * seconds]
    third = len(steady) // 3
    facts: dict[str, Any] = {"seconds": seconds, "samples": len(steady)}
    if not third:
        return facts, [f"there are {len(steady)} samples after the warm-up, too few to compare"]
    problems = []
    for name, unit in (("resident", _MIB), ("own", _MIB), ("files", 1), ("threads", 1)):
        values = [getattr(sample, name) / unit for sample in steady]
        early, late = median(values[:third]), median(values[-third:])
        slope = float(np.polyfit([sample.seconds for sample in steady], values, 1)[0]) * 3600
        facts[name] = {"early": round(early, 1), "late": round(late, 1), "slope_per_hour": round(slope, 1)}
        if late > early * (1 + _MOST_GROWTH):
            problems.append(f"{name} grew from {early:.1f} to {late:.1f}")
    return facts, problems
