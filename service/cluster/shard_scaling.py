"""How the replicas of a shard follow its load: Serve's autoscaler, with the busy share of their threads.

Serve's own measure, requests that a deployment has open, is always near zero: roots ask shards directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.cluster.replica_range import ReplicaRange

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingConfig, AutoscalingContext

BUSY = "busy"
"""What a replica records: the share of the last seconds in which its thread worked on frames."""

TARGET = 0.6
"""Busy share of each replica that their number is chosen for. Where frames come at random, one then waits for as long
as 1.5 others take (M/M/1); at 0.8 it would be 4."""

PACE = {"look_back_period_s": 30.0, "upscale_delay_s": 10.0, "downscale_delay_s": 300.0}
"""Seconds: shares are means over so long, and more or fewer replicas have to be due for so long. A replica that is
missed costs answers, one too many a core, so they come soon and go late."""


def replicas_by_busy_share(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Serve's policy: so many replicas that each would be busy for TARGET of the time.

    Ray copies this function into the process of Serve's controller, where the rest of the service need not be.
    """
    busy = (context.aggregated_metrics or {}).get(BUSY, {})
    if len(busy) < context.current_num_replicas:  # one that has just begun has taken over a share, and not told of it
        return context.target_num_replicas, {}
    return sum(busy.values()) / TARGET, {}


def replica_options(replicas: ReplicaRange) -> dict[str, Any]:
    """What a deployment is told of the number of its replicas."""
    if replicas.least == replicas.most:
        return {"num_replicas": replicas.least}
    return {"autoscaling_config": _autoscaling(replicas)}


def _autoscaling(replicas: ReplicaRange) -> AutoscalingConfig:
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    return AutoscalingConfig(min_replicas=replicas.least, max_replicas=replicas.most,
                             policy=AutoscalingPolicy(policy_function=replicas_by_busy_share), **PACE)
