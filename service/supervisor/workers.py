"""Worker processes as the supervisor sees them: starts, replaces, messages and ends them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from service.bundles.control_channel import Message, Release, SupervisorEnd, Try
from service.settings import Settings
from service.supervisor import worker
from service.supervisor.processes import Processes
from service.telemetry.request_log import log
from service.telemetry.shared_values import Region, SharedMemory, attach

_RESTART_PAUSE_SECONDS = 0.5
_KILL_MARGIN_SECONDS = 15
"""More than the end of a worker waits for Redis, the collector, the follower and a reader of its log, one after the
other."""


class StartFailedError(Exception):
    """A worker could not start, and a replacement would fail too."""


@dataclass
class Worker:
    """One worker process.

    Attributes:
        region: index of its region in the shared memory of the metrics.
        serving: the bundle that it last reported to serve; None until it is ready.
        failure: why it does not serve the bundle that it was last assigned.
        failed_at: when it reported that, in seconds of `time.monotonic()`.
        heard: whether its end of the channel is open.
        told, tried: what it was last told to have on trial, and reported to have.
    """

    process: BaseProcess
    end: SupervisorEnd
    region: int
    serving: Release | None = None
    failure: str | None = None
    failed_at: float = 0.0
    heard: bool = True
    told: Try = field(default_factory=Try)
    tried: Try = field(default_factory=Try)

    @property
    def process_id(self) -> int:
        return self.process.pid or 0

    def send(self, message: Message) -> None:
        """Sends a message; a worker that no longer reads its messages is killed, and so replaced."""
        if not self.end.send(message) and self.process.is_alive():
            log("worker_killed", worker_id=self.process_id, reason="it does not read its messages")
            self.process.kill()


class Workers:
    """All workers of this replica.

    Args:
        processes: starts them.
        settings: of the service.
        listening: the socket on which they accept connections.
    """

    def __init__(self, processes: Processes, settings: Settings, listening: socket.socket) -> None:
        self._processes, self._settings, self._listening = processes, settings, listening
        self._all: list[Worker] = []
        self._starts: list[float] = [0.0] * settings.workers
        self._metrics = SharedMemory.create(settings.workers + 1)
        self._regions = list(range(settings.workers))
        attach(self._metrics, settings.workers)  # the last one is the supervisor's own

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._all)

    @property
    def complete(self) -> bool:
        """Whether all workers are running."""
        return len(self._all) == self._settings.workers

    @property
    def sources(self) -> list[Any]:
        """What to wait on: messages from workers, and their exits."""
        return [*(member.process.sentinel for member in self._all),
                *(member.end.connection for member in self._all if member.heard)]

    @property
    def next_start(self) -> float | None:
        """When the next worker is due to start, in seconds of `time.monotonic()`; None if all run."""
        return min(self._starts, default=None)

    def start_due(self, release: Release) -> None:
        """Starts the workers that are due."""
        now = time.monotonic()
        for due in [at for at in self._starts if at <= now]:
            self._starts.remove(due)
            ours, theirs = socket.socketpair()
            region = self._regions.pop()
            process = self._processes.start(worker.run, release, self._settings, self._listening, theirs,
                                            self._metrics, region)
            theirs.close()
            self._all.append(Worker(process, SupervisorEnd(ours), region))

    def received(self, ready: list[Any]) -> Iterator[tuple[Worker, Message]]:
        """Yields the messages that have arrived, and removes workers that have ended.

        Args:
            ready: those of `sources` that are ready.

        Raises:
            StartFailedError: a worker has ended with exit status `worker.START_FAILED`.
        """
        for member in list(self._all):
            if member.heard and member.end.connection in ready:
                try:
                    yield from ((member, message) for message in member.end.receive())
                except EOFError:
                    member.heard = False
            if member.process.sentinel in ready:
                self._bury(member)

    def tell(self, message: Message) -> None:
        """Sends a message to all workers."""
        for member in self._all:
            member.send(message)

    def end(self) -> None:
        """Waits for the workers to finish their requests, and kills those that take too long."""
        seconds = self._settings.shutdown_seconds
        for member in self._all:
            member.process.terminate()
        deadline = time.monotonic() + seconds + _KILL_MARGIN_SECONDS
        for member in self._all:
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.is_alive():
                log("worker_killed", worker_id=member.process_id, reason=f"still busy after {seconds} s")
                member.process.kill()
                member.process.join()

    def _bury(self, member: Worker) -> None:
        member.process.join()
        member.end.connection.close()
        self._all.remove(member)
        # Its gauges leave the sums. Its counters stay, for a counter must not fall; the next worker goes on from them.
        Region(self._metrics.files[member.region]).reset_gauges()
        self._regions.append(member.region)
        log("worker_ended", worker_id=member.process_id, exit_code=member.process.exitcode)
        if member.process.exitcode == worker.START_FAILED:
            raise StartFailedError
        # After a pause, so that workers that die at once do not keep a core busy.
        self._starts.append(time.monotonic() + _RESTART_PAUSE_SECONDS)
