"""Worker and replica faults under load: a worker killed, and a rolling restart of two replicas behind a proxy."""

from __future__ import annotations

import time
from statistics import median

from loadtest.chaos.result import Result, judged
from loadtest.chaos.testbed import Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.http.client import LOST


def worker_killed(testbed: Testbed) -> list[Result]:
    """SIGKILL of one of two workers, several times; each failed request is retried once on a new connection.

    Requests that failed at first are those held by the dead worker, which a client without retries loses.
    """
    replica = testbed.replica(testbed.bundle)
    recoveries = []
    with Traffic([replica.address], testbed.answers, testbed.scale.rate, tries=2) as traffic:
        traffic.phase("before")
        traffic.spend(testbed.scale.seconds)
        for kill in range(1, testbed.scale.kills + 1):
            traffic.phase("during")
            began = time.monotonic()
            replica.kill_worker(replica.live_worker_ids()[0])
            replica.wait_for_event("bundle_ready", replica.workers + kill)
            recoveries.append(round(time.monotonic() - began, 3))
            traffic.phase("after")
            traffic.spend(testbed.scale.seconds / testbed.scale.kills)
    replica.stop()
    return [judged("worker killed", traffic.phases(), {
        "kills": len(recoveries), "recovery_s": median(recoveries), "longest_recovery_s": max(recoveries)})]


def replicas_restarted(testbed: Testbed) -> list[Result]:
    """SIGTERM and restart of one replica after the other at its address, as in a rolling update.

    Like a proxy, the client retries a request that was refused, lost or answered with 503 once, at the other replica.
    """
    drain = str(testbed.scale.drain_seconds)
    replicas = [testbed.replica(testbed.bundle, RETRIEVAL_DRAIN_SECONDS=drain) for _ in range(2)]
    took: list[float] = []
    statuses: list[int] = []
    with Traffic([replica.address for replica in replicas], testbed.answers, testbed.scale.rate, tries=2) as traffic:
        traffic.phase("before")
        traffic.spend(testbed.scale.seconds)
        traffic.phase("during")
        for turn in range(2 * testbed.scale.restarts):
            old = replicas[turn % 2]
            began = time.monotonic()
            statuses.append(old.stop())
            took.append(round(time.monotonic() - began, 3))
            replicas[turn % 2] = testbed.replica(testbed.bundle, port=old.address[1],
                                              RETRIEVAL_DRAIN_SECONDS=drain)
        traffic.phase("after")
        traffic.spend(testbed.scale.seconds)
    for replica in replicas:
        replica.stop()
    lost = sum((*one.failures, one.status).count(LOST) for one in traffic.outcomes)
    problems = [f"a replica ended with status {status}" for status in statuses if status]
    return [judged("replicas restarted", traffic.phases(), {
        "restarts": len(took), "median_stop_s": median(took), "longest_stop_s": max(took), "lost": lost}, problems)]
