"""The parent process: verifies the bundle once, opens the socket, keeps the workers alive until it is told to stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from index_store.store import Bundle
from service import worker
from service.request_log import log
from service.settings import Settings, variable

_RESTART_PAUSE_SECONDS = 0.5
_KILL_MARGIN_SECONDS = 5


class ListenError(Exception):
    """The address cannot be listened on; the message says which and why."""


def serve(folder: Path, settings: Settings) -> int:
    """Runs the service until SIGTERM or SIGINT.

    Returns:
        Exit status: 0 after a signal, 1 if the workers cannot start.

    Raises:
        BundleError: the bundle is broken.
        ListenError: the port is taken or not ours to take.
    """
    bundle_id = Bundle.open(folder).bundle_id  # reads every byte, so that the workers need not
    with _listen(settings) as listening, tempfile.TemporaryDirectory(prefix="retrieval-metrics-") as shared:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared  # see service/metrics.py
        host, port = listening.getsockname()[:2]
        log("listening", host=host, port=port, workers=settings.workers, bundle_id=bundle_id)
        with _stop_signal() as stop:
            return _supervise(folder, settings, listening, stop)


def _supervise(folder: Path, settings: Settings, listening: socket.socket, stop: int) -> int:
    spawn = multiprocessing.get_context("spawn")

    def start() -> SpawnProcess:
        process = spawn.Process(target=worker.run, args=(folder, settings, listening))
        process.start()
        return process

    processes = [start() for _ in range(settings.workers)]
    status = 0
    while True:
        ready = wait([stop, *(process.sentinel for process in processes)])
        if stop in ready:
            break
        ended = [process for process in processes if process.sentinel in ready]
        for process in ended:
            process.join()
            # Takes its gauges out of the sums; its counters stay, for a counter must not fall.
            mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            log("worker_ended", worker_id=process.pid, exit_code=process.exitcode)
        processes = [process for process in processes if process not in ended]
        if any(process.exitcode == worker.START_FAILED for process in ended):
            status = 1
            break
        time.sleep(_RESTART_PAUSE_SECONDS)  # so that a worker that dies at once does not keep a core busy
        processes += [start() for _ in ended]
    _end(processes, settings.shutdown_seconds)
    return status


def _end(processes: list[SpawnProcess], seconds: int) -> None:
    """Lets the workers finish their requests, then kills those that did not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + seconds + _KILL_MARGIN_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            log("worker_killed", worker_id=process.pid, reason=f"still busy after {seconds} s")
            process.kill()
            process.join()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ListenError(f"cannot listen on {settings.host}:{settings.port} ({os.strerror(error.errno or 0)}); choose "
                          f"another with --host and --port, or {variable('host')} and {variable('port')}") from error


@contextmanager
def _stop_signal() -> Iterator[int]:
    """A file descriptor that becomes readable at SIGTERM or SIGINT."""
    reader, writer = os.pipe()
    before = {number: signal.signal(number, lambda *_: os.write(writer, b"x"))
              for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
