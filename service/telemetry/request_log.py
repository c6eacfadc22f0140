"""The log: one JSON object per line on stderr, without user ids, features or passwords of addresses.

A thread writes the lines, so that a reader of stderr who has stopped reading holds up no request: once the queue is
full, further lines are dropped and counted.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import sys
import threading
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import orjson

_ROOM = 4096
"""Lines that may wait to be written, about 3 MB of those of requests."""

_FLUSH_SECONDS = 5.0
"""How long the end of a process waits until its last lines are written: on a busy machine the thread comes late."""

_STDERR = -1 if sys.stderr is None else 2  # started without one, 2 may come to be any other file


class _Writer:
    """Writes lines to a file descriptor from a thread of its own, which starts with the first line.

    Args:
        file: the descriptor.
        room: lines that may wait.
    """

    def __init__(self, file: int, room: int) -> None:
        self._file, self._room = file, room
        self._lines: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Queues a line, or drops it if too many wait."""
        if self._thread is None:
            self._start()
        if self._lines.qsize() < self._room:
            self._lines.put(line)
        else:
            _count_dropped()

    def flush(self, seconds: float) -> None:
        """Waits until all lines so far are written, but no longer than this."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(seconds)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        last = b"\n"  # byte that was written
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            if last != b"\n":  # the line before was cut off
                line = b"\n" + line
            try:
                while line:  # one call writes a line of up to 4 KiB in one piece, between those of other processes
                    written = self._write_some(line)
                    last, line = line[written - 1:written], line[written:]
            except OSError:  # stderr was closed, or its disk is full
                _count_dropped()

    def _write_some(self, line: bytes) -> int:
        while True:
            try:
                return os.write(self._file, line)
            except BlockingIOError:  # another process that shares the file has set it to O_NONBLOCK
                select.select([], [self._file], [])


def _count_dropped() -> None:
    from service.telemetry import metrics  # here, because the command line logs before it needs any metric

    metrics.LOG_LINES_DROPPED.inc()


_writer = _Writer(_STDERR, _ROOM)


def log(event: str, **fields: Any) -> None:
    """Logs one line; never waits for a reader."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    _writer.write(orjson.dumps({"time": now, "process_id": os.getpid(), "event": event, **fields}, default=str,
                               option=orjson.OPT_APPEND_NEWLINE))


def flush() -> None:
    """Waits a moment for the last lines; runs automatically when the interpreter exits."""
    _writer.flush(_FLUSH_SECONDS)


atexit.register(flush)


class _LibraryHandler(logging.Handler):
    """Logs what libraries log, in the format of this log."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        log("library", **fields)


def log_libraries() -> None:
    """Sends to this log what libraries log or warn about, and uncaught errors, which Python would print."""
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[_LibraryHandler()], level=logging.WARNING, force=True)
    python = logging.getLogger("python")
    sys.excepthook = lambda kind, error, at: python.error("uncaught exception", exc_info=(kind, error, at))
    threading.excepthook = lambda thrown: python.error(
        "uncaught exception in a thread", exc_info=thrown.exc_value)
    sys.unraisablehook = lambda thrown: python.error(
        "exception ignored in %r", thrown.object, exc_info=thrown.exc_value)
