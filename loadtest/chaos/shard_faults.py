"""Shards on Ray under load: one is killed, roots are swapped and rolled back."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from statistics import median

from index_store.bundle import pointer
from index_store.bundle.bundle import Bundle
from index_store.bundle.pointer import Pointer
from index_store.bundle.sharding import shard_bundle
from loadtest.chaos.answers import Answers
from loadtest.chaos.result import Result, judged
from loadtest.chaos.swaps import of_another_bundle, swap
from loadtest.chaos.testbed import FIRST, SECOND, Scale, Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.processes.cluster_process import ClusterProcess

_LOOK_SECONDS = 0.2


def shard_faults(testbed: Testbed) -> list[Result]:
    """SIGKILL of a shard, several times, then swaps and rollbacks of two roots, all under load.

    While a shard is away its ads are missing, and replies say so; nothing fails. Every reply comes from one root.
    """
    roots, scale = testbed.folder / "roots", testbed.scale
    for name in (FIRST, SECOND):
        shard_bundle(testbed.bundles / name, scale.shards, roots / name)
    pointer.replace(roots, Pointer(FIRST), None)
    ids = {name: Bundle.open(roots / name, verify=False).bundle_id for name in (FIRST, SECOND)}
    answers = testbed.answers.served_as(list(ids.values()))
    with testbed.cluster(roots) as cluster:
        return [_shards_killed(cluster, answers, scale), _roots_swapped(cluster, answers, scale, ids)]


def _shards_killed(cluster: ClusterProcess, answers: Answers, scale: Scale) -> Result:
    recoveries: list[float] = []
    with Traffic([cluster.address], answers, scale.rate) as traffic:
        traffic.phase("before")
        traffic.spend(scale.seconds)
        for kill in range(scale.kills):
            traffic.phase("during")
            recoveries.append(_killed(cluster, kill % scale.shards))
            traffic.phase("after")
            traffic.spend(scale.seconds / scale.kills)
    return judged("shard killed", traffic.phases(), {
        "shards": scale.shards, "kills": len(recoveries), "whole_again_s": median(recoveries),
        "longest_s": max(recoveries)})


def _roots_swapped(cluster: ClusterProcess, answers: Answers, scale: Scale, ids: dict[str, str]) -> Result:
    with Traffic([cluster.address], answers, scale.rate) as traffic:
        traffic.phase("before")
        traffic.spend(scale.seconds)
        traffic.phase("during")
        done = [(0.0, 0.0, ids[FIRST]), *_swapped(cluster, ids, scale.restarts)]
        traffic.phase("after")
        traffic.spend(scale.seconds)
    old = of_another_bundle(traffic.outcomes, done)
    problems = [f"{old} replies to requests sent after a swap are of the previous root"] if old else []
    degraded = sum(bool(one.degraded) for one in traffic.outcomes)
    if degraded:
        problems.append(f"{degraded} replies were degraded while roots were swapped")
    return judged("roots swapped", traffic.phases(), {
        "swaps and rollbacks": len(done) - 1, "mixed": sum(one.problem is not None for one in traffic.outcomes),
        "of_the_root_before": old, "swap_s": round(median(end - begin for begin, end, _ in done[1:]), 3)}, problems)


def _killed(cluster: ClusterProcess, number: int) -> float:
    """Kills a shard; seconds until the root is connected to all shards again."""
    shard = cluster.wait_until(lambda: cluster.shard_process(number), f"shard {number} runs")
    assert shard is not None, "it was waited for"
    shard.send_signal(signal.SIGKILL)
    began = time.monotonic()
    cluster.wait_until(lambda: _missing(cluster) > 0, f"shard {number} is missed")
    cluster.wait_until(lambda: _missing(cluster) == 0, f"shard {number} is back")
    return round(time.monotonic() - began, 3)


def _missing(cluster: ClusterProcess) -> float:
    """Shards that the root has no connection to, looked at five times a second: more would be a load of its own."""
    time.sleep(_LOOK_SECONDS)
    return cluster.metric("retrieval_shards_missing")


def _swapped(cluster: ClusterProcess, ids: dict[str, str], times: int) -> Iterator[tuple[float, float, str]]:
    """Loads the second root and rolls back, so many times: begin and end of each change, and the root after it."""
    for serving in (SECOND, FIRST) * times:
        began = time.perf_counter()
        swap(cluster, SECOND if serving == SECOND else None)
        yield began, time.perf_counter(), ids[serving]
