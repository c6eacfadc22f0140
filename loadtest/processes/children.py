"""Child processes of a `with` block; none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_GRACE_SECONDS = 20
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status, and peak memory in bytes of it or one of its descendants."""

    status: int
    peak_bytes: int


class Children:
    """A `with` block that stops the processes started in it, last first, however the block ends.

    Every child has a session of its own, so that Ctrl-C reaches this process only, which then stops the children in
    order. SIGTERM and SIGHUP count as Ctrl-C; together they raise one KeyboardInterrupt, however often they arrive.
    """

    def __init__(self) -> None:
        self._endings: dict[subprocess.Popen[bytes], signal.Signals] = {}
        self._interrupted = False
        self._held = False

    def __enter__(self) -> Children:
        self._before = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._held = True
        for process in reversed(list(self._endings)):
            self._end(process)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def start(self, command: Sequence[str], ending: signal.Signals = signal.SIGTERM,
              **options: Any) -> subprocess.Popen[bytes]:
        """Starts a process.

        Args:
            command: program and arguments.
            ending: the signal that stops it gracefully.
            options: of `subprocess.Popen`.
        """
        with self._uninterrupted():
            process = subprocess.Popen(command, start_new_session=True, **options)
            self._endings[process] = ending
        return process

    def wait(self, process: subprocess.Popen[bytes]) -> Ended:
        """Waits for a process to end by itself."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # the system reports it only once
        del self._endings[process]
        return Ended(process.returncode, usage.ru_maxrss * 1024)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Stops a process, by force if it ignores the signal."""
        process.send_signal(self._endings.pop(process))
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its whole session, including what it started
            process.wait()

    @contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """Defers an interruption that would leave a child behind, between its start and its entry in the list."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, *_: object) -> None:
        if not self._interrupted:
            self._interrupted = True
            if not self._held:
                raise KeyboardInterrupt
