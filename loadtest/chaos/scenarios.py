"""All scenarios by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadtest.chaos import (
    change_faults,
    client_calls,
    damage,
    log_faults,
    overload,
    redis_faults,
    schema,
    shard_faults,
    soak,
    swaps,
    worker_faults,
)
from loadtest.chaos.result import Result
from loadtest.chaos.testbed import Testbed

Scenario = Callable[[Testbed], list[Result]]


def _changes(testbed: Testbed) -> list[Result]:
    return [*change_faults.change_faults(testbed), *log_faults.log_replaced(testbed), *log_faults.disk_full(testbed)]


SCENARIOS: Mapping[str, Scenario] = {
    "redis": redis_faults.redis_faults,
    "worker-killed": worker_faults.worker_killed,
    "replicas-restarted": worker_faults.replicas_restarted,
    "changes": _changes,
    "overload": overload.overload,
    "swaps": swaps.swaps,
    "client": client_calls.client_calls,
    "client-blocking": client_calls.blocking_calls,
    "damage": damage.damage,
    "schema": schema.schema,
    "shards": shard_faults.shard_faults,
    "soak": soak.soak,
}

DEFAULT = tuple(name for name in SCENARIOS if name not in ("shards", "soak"))
"""What `make chaos` runs; `make soak` runs the soak, and `shards` needs the extra `cluster`."""
