"""A root as a replica of Ray Serve: the service as it is, in a process of its own, and its address book.

Serve places and restarts it, and tells where its shards are. Requests do not pass through Serve: they come to the port
of the service, as without Ray.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from service.settings import variable
from service.shards.address_book import write_addresses
from service.telemetry.request_log import log

_LOOK_SECONDS = 0.5
"""Between two questions for the addresses of a shard, which Serve passes to each of its replicas."""

_ANSWER_SECONDS = 1.0
"""For their answers; one that is silent for longer counts on, and keeps those of its shard waiting no longer."""


class ShardHandle(Protocol):
    """What Serve gives a root to call the replicas of a shard with."""

    def broadcast(self, method: str) -> Any: ...


class Addresses:
    """The addresses that the replicas of each shard have told."""

    def __init__(self, shards: int) -> None:
        self._told: list[set[str]] = [set() for _ in range(shards)]
        self._written: list[list[str]] | None = None

    def tell(self, shard: int, addresses: Iterable[str], everybody: bool) -> None:
        """Takes down what replicas of a shard have told.

        Args:
            shard: its number.
            addresses: of those that have answered.
            everybody: whether all have; else those known before, whoever of them is silent, count on.
        """
        self._told[shard] = set(addresses) if everybody else self._told[shard] | set(addresses)

    def changed(self) -> list[list[str]] | None:
        """All addresses that count, if they are not those of the last call; else None."""
        current = [sorted(of_shard) for of_shard in self._told]
        if current == self._written:
            return None
        self._written = current
        return current


class RootReplica:
    """Runs `python -m service` for the roots in a folder.

    Args:
        bundles: folder of roots on this machine.
        listen: host and port of the service.
        shards: handle of each shard, in order.
    """

    def __init__(self, bundles: str, listen: tuple[str, int], shards: Sequence[ShardHandle]) -> None:
        self._shards, self._addresses = shards, Addresses(len(shards))
        self._folder = tempfile.TemporaryDirectory(prefix="root-")
        self._book = Path(self._folder.name) / "shards.json"
        host, port = listen
        self._service = subprocess.Popen(
            [sys.executable, "-m", "service.cluster", "root", bundles, "--host", host, "--port", str(port)],
            stdin=subprocess.PIPE, env=environment(os.environ, self._book))
        self._writing, self._ended = threading.Lock(), threading.Event()
        self._watches = [threading.Thread(target=self._watch, args=(number,), name=f"shard-{number}", daemon=True)
                         for number in range(len(shards))]
        for watch in self._watches:
            watch.start()

    def check_health(self) -> None:
        """Raises RuntimeError once the service or a watch has ended; Serve then replaces this replica."""
        status = self._service.poll()
        if status is not None:
            raise RuntimeError(f"the service has ended with exit status {status}; its log has the reason")
        for watch in self._watches:
            if not watch.is_alive():
                raise RuntimeError(f"nobody asks any longer where {watch.name} is")

    def __del__(self) -> None:
        """Ends the service; Serve calls this when it stops the replica."""
        self._ended.set()
        if self._service.stdin is not None:
            self._service.stdin.close()
        self._service.wait()

    def _watch(self, number: int) -> None:
        """Asks for the addresses of a shard for ever; one that does not answer keeps no other waiting."""
        problem = ""
        while not self._ended.wait(_LOOK_SECONDS):
            former = problem
            try:
                answers = self._shards[number].broadcast("address").results(timeout_s=_ANSWER_SECONDS,
                                                                            return_exceptions=True)
            except Exception as error:  # Ray raises many types; the replicas are gone or have not started
                answers = [error]
            addresses = [answer for answer in answers if isinstance(answer, str)]
            problem = next((type(answer).__name__ for answer in answers if not isinstance(answer, str)), "")
            if problem and problem != former:
                log("shard_address_unknown", shard=number, reason=problem)
            with self._writing:
                self._addresses.tell(number, addresses, everybody=not problem)
                if (current := self._addresses.changed()) is not None:
                    write_addresses(self._book, current)


def environment(outer: Mapping[str, str], book: Path) -> dict[str, str]:
    """The environment of the service: that of the node, and where its shards are."""
    return {**outer, variable("shards"): str(book)}
