"""One process that answers requests, on a socket that the supervisor has opened and bundles that it has verified."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from socket import socket

from service.bundles.control_channel import Release
from service.settings import Settings
from service.telemetry.request_log import log_libraries

START_FAILED = 3
"""Exit status of a worker that could not start: the next one could not either."""

# Longer than the usual idle time in load balancers, so that they close a connection first and never meet a closed one.
_KEEP_ALIVE_SECONDS = 75


def run(release: Release, settings: Settings, listening: socket, control: socket) -> None:
    """Serves until SIGTERM or SIGINT, or until the supervisor is gone.

    Args:
        release: the bundle to begin with.
        settings: of the service.
        listening: where requests come in.
        control: the way to the supervisor, see service/bundles/control_channel.py.
    """
    # Here and not above: the supervisor, which names this function, stays small and starts fast without them.
    import uvicorn

    from service.http.app import create_app

    log_libraries()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    config = uvicorn.Config(create_app(release, settings, control), lifespan="on", log_config=None, access_log=False,
                            server_header=False, proxy_headers=False, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                            timeout_graceful_shutdown=settings.shutdown_seconds)
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if not server.started:
        sys.exit(START_FAILED)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
