"""What all scenarios share: the bundles, how hard and how long, and a folder for what they leave."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from index_store.bundle import pointer
from index_store.bundle.pointer import Pointer
from loadtest.chaos.answers import Answers
from loadtest.processes.children import Children
from loadtest.processes.service_process import ServiceProcess, service_environment

FIRST, SECOND = "first", "second"
"""Names of the two bundles in the folder of bundles."""


@dataclass(frozen=True)
class Scale:
    """How much each scenario does.

    Attributes:
        rate: requests a second.
        seconds: length of a phase.
        redis_timeout_ms: that of the service; on a busy machine every pause would be a failure of Redis by the default.
        kills: workers killed, one after the other.
        restarts: restarts of each of two replicas.
        drain_seconds: time for which a replica refuses before it ends.
        swaps, rollbacks: of bundles.
        most_damages: damaged bundles that the service is asked to load; 0 for all that there are.
        soak_seconds: length of the soak, the first third of which warms up.
        soak_swap_seconds: a bundle is swapped this often meanwhile.
    """

    rate: float = 50.0
    seconds: float = 15.0
    redis_timeout_ms: int = 20
    kills: int = 5
    restarts: int = 3
    drain_seconds: float = 5.0
    swaps: int = 50
    rollbacks: int = 10
    most_damages: int = 0
    soak_seconds: float = 600.0
    soak_swap_seconds: float = 30.0


FULL = Scale()
SHORT = Scale(rate=40.0, seconds=2.0, redis_timeout_ms=200, kills=1, restarts=1, drain_seconds=1.0, swaps=4,
              rollbacks=2, most_damages=8, soak_seconds=15.0, soak_swap_seconds=4.0)
"""For continuous integration: the promises, not the figures."""


class Site:
    """Where scenarios run.

    Args:
        first, second: bundles with the same users and other answers.
        folder: for logs, Redis and the folder of bundles.
        children: owns the services.
        scale: how much to do.

    Raises:
        BundleError: one is broken.
        AlikeError: they cannot be told apart.
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
        """The first bundle, for a service that swaps none."""
        return self.bundles / FIRST

    def store(self, current: str) -> Path:
        """The folder of bundles, with the pointer to one of them."""
        pointer.replace(self.bundles, Pointer(current), None)
        return self.bundles

    def replica(self, serves: Path, *, workers: int = 2, port: int = 0, **settings: str) -> ServiceProcess:
        """Starts a service and waits until it is ready; it stops without draining, unless the settings say so."""
        self._started += 1
        replica = ServiceProcess(serves, self.folder / f"service_{self._started}.log", workers=workers, port=port,
                                 environment=service_environment(**{"RETRIEVAL_DRAIN_SECONDS": "0", **settings}),
                                 start=self._children.start)
        replica.wait_until_ready()
        return replica
