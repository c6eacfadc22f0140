"""All scenarios by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadtest.chaos import overload, redis_faults, worker_faults
from loadtest.chaos.result import Result
from loadtest.chaos.site import Site

Scenario = Callable[[Site], Result]

SCENARIOS: Mapping[str, Scenario] = {
    "redis-killed": redis_faults.redis_killed,
    "redis-restarted": redis_faults.redis_restarted,
    "redis-paused": redis_faults.redis_paused,
    "redis-garbage": redis_faults.redis_garbage,
    "redis-full": redis_faults.redis_full,
    "worker-killed": worker_faults.worker_killed,
    "replicas-restarted": worker_faults.replicas_restarted,
    "overload": overload.overload,
}
