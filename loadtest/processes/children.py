"""Processes that a program starts and must not leave behind."""

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
    """How a process ended: its exit status, and the most memory in bytes that it or one of its own held at a time."""

    status: int
    peak_bytes: int


class Children:
    """A `with` block that ends what was started in it, the last first, whatever ends the block.

    Every child gets a session of its own, so that Ctrl-C reaches this process alone: it ends the children in order, and
    each of them once. SIGTERM and SIGHUP count as Ctrl-C; all raise one KeyboardInterrupt, however often they come.
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
            ending: the signal that ends it well.
            options: of `subprocess.Popen`.
        """
        with self._uninterrupted():
            process = subprocess.Popen(command, start_new_session=True, **options)
            self._endings[process] = ending
        return process

    def wait(self, process: subprocess.Popen[bytes]) -> Ended:
        """Waits until a process ends by itself."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # nobody else can ask the system for it any more
        del self._endings[process]
        return Ended(process.returncode, usage.ru_maxrss * 1024)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process, by force if it does not heed the signal."""
        with self._uninterrupted():
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(self._endings.pop(process))
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its session is ours, and so is all that it started there
            process.wait()

    @contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """Puts an interruption off: between its start and its entry in the list a child would be forgotten."""
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
