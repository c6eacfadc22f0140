"""A running application: connects to Ray, or starts one on this machine, and serves until a signal comes."""

from __future__ import annotations

import os
import signal
import socket
import threading

from service.cluster.serve_app import ClusterArgs, build
from service.shards.address_book import parse_address

OBJECT_STORE_BYTES = 200 * 2**20
"""Of a Ray that is started here; nothing of ours is put into it."""

_NAME = "retrieval"

_CONNECT_SECONDS = 3.0

_STARVED = "timed out during startup"
"""Of the message of a bare Exception, which Ray raises where one of its processes gets no processor time."""


class RayError(Exception):
    """Ray cannot be used; the message says which one and what to do."""


def run_application(args: ClusterArgs, address: str | None) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        args: what.
        address: of a running Ray, `auto` for the one of this machine; None starts one here, which ends with it.

    Raises:
        RayError: Ray is not installed, cannot be reached, or has another version.
        BundleError, PointerError: there is no root to serve.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or Ray reports to its maker
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise RayError(f"Ray is not installed ({error}); install the extra `cluster`") from error
    application = build(args)
    _connect(address)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        serve.start(proxy_location="Disabled")
        serve.run(application, name=_NAME, route_prefix=None)
        ended.wait()
        serve.delete(_NAME)
    finally:
        if address is None:
            serve.shutdown()
        ray.shutdown()


def _connect(address: str | None) -> None:
    import ray

    try:
        if address is not None and address != "auto":
            # Ray itself tries for minutes, and then ends the process.
            socket.create_connection(parse_address(address), _CONNECT_SECONDS).close()
        if address is None:
            ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES)
        else:
            ray.init(address=address)
    except (OSError, ValueError) as error:
        raise RayError(f"Ray at {address} cannot be reached ({first_line(error)}); start it with `ray start --head`, "
                       "or leave --address out for one on this machine") from error
    except RuntimeError as error:  # another version of Ray or Python: the message has both
        raise RayError(f"Ray at {address} cannot be used ({first_line(error)}); install the version of the cluster, "
                       "or restart it with this one") from error
    except Exception as error:
        if _STARVED not in str(error):
            raise
        raise RayError(f"Ray has not come up on this machine ({first_line(error)}); it gives its processes 15 s to "
                       "begin: try again when the machine is less busy") from error


def first_line(error: Exception) -> str:
    """The message of an error of Ray in one line."""
    return " ".join(str(error).split())
