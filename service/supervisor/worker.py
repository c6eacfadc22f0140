"""One worker process: answers requests on the supervisor's socket, from bundles that the supervisor has verified."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from functools import partial
from socket import socket
from typing import Any, cast

from service.bundles.control_channel import Release
from service.settings import Settings
from service.telemetry.request_log import flush, log, log_libraries
from service.telemetry.shared_values import SharedMemory, attach

START_FAILED = 3
"""Exit status of a worker that could not start, as a replacement would fail too."""

_SWITCH_SECONDS = 0.0001
"""How long a thread may keep the interpreter while another one waits for it. A search gives it up dozens of times, and
at Python's 5 ms each time may cost as much while the follower applies changes."""


def run(release: Release, settings: Settings, listening: socket, control: socket, metrics: SharedMemory,
        region: int) -> None:
    """Serves until SIGTERM or SIGINT, or until the supervisor has died.

    Args:
        release: the bundle to start with.
        settings: of the service.
        listening: where requests come in.
        control: the channel to the supervisor, see service/bundles/control_channel.py.
        metrics: the memory of the metrics of all processes.
        region: the part of it that this worker counts in.
    """
    signal.signal(signal.SIGTERM, _end)
    log_libraries()
    attach(metrics, region)
    try:
        _serve(release, settings, listening, control)
    except Exception:  # multiprocessing would print it, and block if stderr is not read
        log("worker_failed", traceback=traceback.format_exc())
        sys.exit(1)
    finally:
        flush()  # this process ends without the interpreter's own clean-up


def _serve(release: Release, settings: Settings, listening: socket, control: socket) -> None:
    # Here and not above: the supervisor, which names `run`, stays small and starts fast without them.
    import uvicorn

    from service.http.app import create_app
    from service.http.connection import Connection
    from service.http.server import Server

    sys.setswitchinterval(_SWITCH_SECONDS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection = partial(Connection, header_seconds=settings.header_seconds, body_seconds=settings.body_seconds)
    config = uvicorn.Config(create_app(release, settings, control), http=cast(Any, connection), ws="none",
                            lifespan="on", log_config=None, access_log=False, server_header=False, proxy_headers=False,
                            timeout_keep_alive=settings.idle_seconds,
                            timeout_graceful_shutdown=settings.shutdown_seconds)
    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if not server.started:
        sys.exit(START_FAILED)


def _end(*_: Any) -> None:
    """Exits cleanly, so that `run` writes the last log lines; once uvicorn runs, it calls this at its end."""
    sys.exit(0)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
