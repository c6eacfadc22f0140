"""The testbed of all scenarios: bundles, expected answers, load and duration, and a folder for logs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from index_store.bundle import pointer
from index_store.bundle.bundle import Bundle
from index_store.bundle.pointer import Pointer
from loadtest.chaos.answers import Answers
from loadtest.processes.children import Children
from loadtest.processes.cluster_process import ClusterProcess
from loadtest.processes.service_process import ServiceProcess, service_environment

FIRST, SECOND = "first", "second"
"""Names of the two bundles in the bundle store."""


@dataclass(frozen=True)
class Scale:
    """Load and duration of the scenarios.

    Attributes:
        rate: requests per second.
        seconds: length of a phase.
        redis_timeout_ms: of the service; on a busy machine, the default would take every pause for a failure of Redis.
        kills: number of workers killed, one at a time.
        write_kills: number of processes killed during writes, one at a time: a worker, a replica, the log's Redis, and
            so on.
        restarts: restarts of each of two replicas, and swaps of a sharded bundle.
        drain_seconds: how long a replica refuses requests before it stops; long enough for the load to use each idle
            connection once, and so to hear that it is closed.
        swaps, rollbacks: numbers of bundle swaps and rollbacks.
        shards: of a sharded bundle.
        most_damages: most damaged bundles that the service is asked to load, evenly chosen; 0 for all.
        soak_seconds: length of the soak, whose first third is warm-up.
        soak_swap_seconds: time from the end of a bundle swap to the next one during the soak.
    """

    rate: float = 50.0
    seconds: float = 15.0
    redis_timeout_ms: int = 20
    kills: int = 5
    write_kills: int = 20
    restarts: int = 3
    drain_seconds: float = 5.0
    swaps: int = 50
    rollbacks: int = 10
    shards: int = 4
    most_damages: int = 0
    soak_seconds: float = 600.0
    soak_swap_seconds: float = 30.0


FULL = Scale()
SHORT = Scale(rate=40.0, seconds=2.0, redis_timeout_ms=200, kills=1, write_kills=3, restarts=1, drain_seconds=4.0,
              swaps=2, rollbacks=1, shards=2, most_damages=5, soak_seconds=12.0, soak_swap_seconds=2.5)
"""For continuous integration: the guarantees, not the figures."""


class Testbed:
    """Everything that a scenario needs.

    Args:
        first, second: bundles with the same users and different answers.
        folder: for logs, Redis and the bundle store.
        children: owns the processes.
        scale: load and duration.

    Raises:
        BundleError: a bundle cannot be opened.
        SameAnswersError: both bundles give the same answers.
    """

    def __init__(self, first: Path, second: Path, folder: Path, children: Children, scale: Scale) -> None:
        self.folder, self.scale, self._children = folder, scale, children
        self.answers = Answers([first, second])
        self.bundles = folder / "bundles"
        for name, source in ((FIRST, first), (SECOND, second)):
            shutil.copytree(source, self.bundles / name)
        self._started = 0

    @property
    def bundle(self) -> Path:
        """The first bundle, for a service without swaps."""
        return self.bundles / FIRST

    def ad_ids(self, count: int) -> list[str]:
        """Some ads of the first bundle."""
        return [ad_id.decode() for ad_id in Bundle.open(self.bundle).content.encoder.item_ids[:count]]

    def store(self, current: str) -> Path:
        """The folder of bundles, with its pointer set to one of them."""
        pointer.replace(self.bundles, Pointer(current), pointer.read_if_any(self.bundles))
        return self.bundles

    def replica(self, serves: Path, *, workers: int = 2, port: int = 0, **settings: str) -> ServiceProcess:
        """Starts a service and waits until it is ready; it stops without draining, unless the settings say so."""
        self._started += 1
        replica = ServiceProcess(serves, self.folder / f"service_{self._started}.log", workers=workers, port=port,
                                 environment=service_environment(**{"RETRIEVAL_DRAIN_SECONDS": "0", **settings}),
                                 spawn=self._children.start)
        replica.wait_until_ready()
        return replica

    def cluster(self, roots: Path) -> ClusterProcess:
        """Serves a folder of roots on a Ray of its own, and waits until all shards are there."""
        self._started += 1
        # a small part of a core for the root and each shard: Ray places nothing that does not fit
        cluster = ClusterProcess(roots, self.folder / f"cluster_{self._started}.log", environment=service_environment(
            RETRIEVAL_DRAIN_SECONDS="0"), cpus=0.2, spawn=self._children.start)
        cluster.wait_until_ready()
        return cluster
