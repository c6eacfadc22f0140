"""A child process that writes to a log file, which its parent reads while it runs."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

_POLL_SECONDS = 0.01
_TAIL_LINES = 5

Spawn = Callable[..., "subprocess.Popen[bytes]"]
"""Starts a process: `subprocess.Popen`, or `Children.start`, which also ends it."""

_Found = TypeVar("_Found")


class ProcessEndedError(RuntimeError):
    """A process ended by itself; the message has its exit status and the end of its log."""


class LoggedProcess:
    """A running process; a `with` block ends it.

    Args:
        command: program and arguments.
        log: file that its output is appended to.
        environment: all of its environment variables.
        spawn: starts it; takes the arguments of `subprocess.Popen`.
        stdout: where its standard output goes; None for the log, where its standard error goes in any case.

    Attributes:
        patience: seconds that its end, or a condition, is waited for.
    """

    patience = 180.0

    def __init__(self, command: Sequence[str], log: Path, *, environment: Mapping[str, str],
                 spawn: Spawn = subprocess.Popen, stdout: int | None = None) -> None:
        self.log, self._command = log, list(command)
        self._lines: list[str] = []
        self._rest = b""
        with log.open("ab") as output:
            self._reader = log.open("rb")
            self._reader.seek(0, 2)  # behind what earlier processes wrote
            self.process = spawn(command, env=dict(environment), stdout=output if stdout is None else stdout,
                                 stderr=output)

    @property
    def lines(self) -> list[str]:
        """The lines that it has written so far, each with its newline; a line that is not finished is left out."""
        if not self._reader.closed:
            *lines, self._rest = (self._rest + self._reader.read()).splitlines(keepends=True) or [b""]
            if self._rest.endswith(b"\n"):
                lines, self._rest = [*lines, self._rest], b""
            self._lines += [line.decode(errors="replace") for line in lines]
        return self._lines

    def wait_until(self, condition: Callable[[], _Found], what: str = "its condition holds") -> _Found:
        """Waits until a condition is true, and returns its value.

        Raises:
            ProcessEndedError: the process ended first.
            TimeoutError: the condition does not hold in time; the message says `what` was waited for.
        """
        deadline = time.monotonic() + self.patience
        while not (found := condition()):
            if self.has_ended() and not (found := condition()):
                raise self.ended()
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {self.patience:g} s in vain until {what}; {self._end_of_log()}")
            if not found:
                time.sleep(_POLL_SECONDS)
        return found

    def has_ended(self) -> bool:
        """Whether nothing more will be written to the log."""
        return self.process.poll() is not None

    def ended(self) -> ProcessEndedError:
        """The error to raise when the process has ended by itself."""
        return ProcessEndedError(f"{shlex.join(self._command)} ended by itself with exit status "
                                 f"{self.process.wait()}; {self._end_of_log()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status, once the process has ended.

        Raises:
            TimeoutError: it does not end in time.
        """
        self.process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        """Waits for the end and returns the exit status.

        Raises:
            TimeoutError: it does not end in time.
        """
        try:
            status = self.process.wait(self.patience)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the process did not end within {self.patience:g} s; {self._end_of_log()}") from error
        self._wait_for_descendants()
        _ = self.lines  # the last ones
        self._reader.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.stop()
        else:
            self.finish()

    def _wait_for_descendants(self) -> None:
        """For processes whose descendants write to the log as well."""

    def _end_of_log(self) -> str:
        return f"the end of its log {self.log}:\n{tail(self.log)}"


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
