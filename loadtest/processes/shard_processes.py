"""The shards of a root as processes of this machine, without Ray, and the address book that leads to them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtest.processes.logged_process import LoggedProcess, Spawn
from loadtest.processes.service_process import HOST
from service.shards.address_book import write_addresses


class ShardProcess(LoggedProcess):
    """`python -m service.cluster shard` at a port that the system chooses.

    Args:
        root: the root, with its shards.
        number: of the shard.
        log: file that its log is appended to.
        environment: all of its environment variables.
        spawn: starts the process.

    Attributes:
        address: `HOST:PORT`.

    Raises:
        ProcessEndedError, TimeoutError: it does not listen.
    """

    def __init__(self, root: Path, number: int, log: Path, *, environment: Mapping[str, str],
                 spawn: Spawn = subprocess.Popen) -> None:
        super().__init__([sys.executable, "-m", "service.cluster", "shard", str(root), "--number", str(number),
                          "--host", HOST, "--port", "0"], log, environment=environment, spawn=spawn)
        try:
            line = self.wait_until(lambda: next((line for line in self.lines if '"event":"shard_listening"' in line),
                                                ""), "the shard listens")
        except BaseException:
            self.process.kill()
            raise
        self.address = f"{HOST}:{json.loads(line)['port']}"


@contextmanager
def running_shards(root: Path, shards: int, folder: Path, environment: Mapping[str, str],
                   spawn: Spawn = subprocess.Popen) -> Iterator[tuple[Path, list[ShardProcess]]]:
    """Starts a process for each shard of a root.

    Args:
        root: the root.
        shards: how many it has.
        folder: for the address book and the logs.
        environment: of the processes.
        spawn: starts them.

    Yields:
        The address book and the processes, in the order of the shards.
    """
    with ExitStack() as stack:
        running = [stack.enter_context(ShardProcess(root, number, folder / f"shard_{number}.log",
                                                    environment=environment, spawn=spawn)) for number in range(shards)]
        book = folder / "shards.json"
        write_addresses(book, [[shard.address] for shard in running])
        yield book, running
