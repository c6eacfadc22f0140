"""A worker killed under load, and replicas restarted one after the other while a proxy's client asks both."""

from __future__ import annotations

import time
from statistics import median

from loadtest.chaos.result import Result, judged
from loadtest.chaos.site import Site
from loadtest.chaos.traffic import Traffic
from loadtest.http.client import LOST


def worker_killed(site: Site) -> list[Result]:
    """SIGKILL of one of two workers, several times; each failed request is tried once more, on a new connection.

    Those that failed at first are what a client without a second try loses: requests that the dead worker held.
    """
    replica = site.replica(site.bundle)
    recoveries = []
    with Traffic([replica.address], site.answers, site.scale.rate, tries=2) as traffic:
        traffic.phase("before")
        traffic.spend(site.scale.seconds)
        for kill in range(1, site.scale.kills + 1):
            traffic.phase("during")
            began = time.monotonic()
            replica.kill_worker(replica.live_worker_ids()[0])
            replica.wait_for_event("bundle_ready", replica.workers + kill)
            recoveries.append(round(time.monotonic() - began, 3))
            traffic.phase("after")
            traffic.spend(site.scale.seconds / site.scale.kills)
    replica.stop()
    return [judged("worker killed", traffic.phases(), {
        "kills": len(recoveries), "recovery_s": median(recoveries), "longest_recovery_s": max(recoveries)})]


def replicas_restarted(site: Site) -> list[Result]:
    """SIGTERM of one replica after the other, each started again at its address: what a rolling update does.

    The client tries a request that was refused, lost or answered with 503 once more, at the other replica.
    """
    drain = str(site.scale.drain_seconds)
    replicas = [site.replica(site.bundle, RETRIEVAL_DRAIN_SECONDS=drain) for _ in range(2)]
    took: list[float] = []
    statuses: list[int] = []
    with Traffic([replica.address for replica in replicas], site.answers, site.scale.rate, tries=2) as traffic:
        traffic.phase("before")
        traffic.spend(site.scale.seconds)
        traffic.phase("during")
        for turn in range(2 * site.scale.restarts):
            old = replicas[turn % 2]
            began = time.monotonic()
            statuses.append(old.stop())
            took.append(round(time.monotonic() - began, 3))
            replicas[turn % 2] = site.replica(site.bundle, port=old.address[1],
                                              RETRIEVAL_DRAIN_SECONDS=drain)
        traffic.phase("after")
        traffic.spend(site.scale.seconds)
    for replica in replicas:
        replica.stop()
    lost = sum((*one.failures, one.status).count(LOST) for one in traffic.outcomes)
    problems = [f"a replica ended with status {status}" for status in statuses if status]
    return [judged("replicas restarted", traffic.phases(), {
        "restarts": len(took), "median_stop_s": median(took), "longest_stop_s": max(took), "lost": lost}, problems)]
