"""A sharded bundle on a Ray of its own, as a child process: root and shards are placed by Ray Serve."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from loadtest.processes.logged_process import Spawn
from loadtest.processes.service_process import HOST, ListeningProcess

_LOOK_SECONDS = 0.2


class ClusterProcess(ListeningProcess):
    """`python -m service.cluster up`; a `with` block ends it and everything that it started.

    Args:
        roots: folder of roots with a pointer.
        log: file that its log is appended to.
        environment: all of its environment variables; see `service_environment`.
        cpus: cores that Ray reserves for the root and for each shard; below 1 where they share cores.
        spawn: starts the process.

    Raises:
        ProcessEndedError, TimeoutError: it does not listen.
    """

    def __init__(self, roots: Path, log: Path, *, environment: Mapping[str, str], cpus: float = 1.0,
                 spawn: Spawn = subprocess.Popen) -> None:
        super().__init__([sys.executable, "-m", "service.cluster", "up", str(roots), "--host", HOST, "--port", "0",
                          "--root-cpus", str(cpus), "--shard-cpus", str(cpus)], log, environment=environment,
                         spawn=spawn)

    def wait_until_ready(self) -> None:
        """Waits until the root answers with all shards.

        Raises:
            ProcessEndedError, TimeoutError: it does not.
        """
        self.wait_until(self._ready, "the root is ready")

    def _ready(self) -> bool:
        time.sleep(_LOOK_SECONDS)
        try:
            return self.call("/readyz")[0] == 200
        except OSError:
            return False

    def shard_process(self, number: int) -> psutil.Process | None:
        """The process that runs a replica of a shard, or None if none is running."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if f"retrieval:shard-{number}" in " ".join(child.cmdline()):
                    return child
            except psutil.Error:  # it has just ended
                continue
        return None

    def stop(self, number: int = signal.SIGINT) -> int:
        """As of a LoggedProcess, but Ctrl-C is what ends this command in good order."""
        return super().stop(number)
