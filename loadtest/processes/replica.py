"""One replica of the service as a process: started, watched by its log, asked over HTTP, ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from loadtest.processes.children import Children

START_SECONDS = 60.0
TOKEN = "a token of this run alone"
_POLL_SECONDS = 0.01

# No proxy: everything here stays on this machine.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServiceEndedError(Exception):
    """A replica ended by itself."""


def until(condition: Callable[[], object], what: str, seconds: float = START_SECONDS) -> float:
    """Waits until a condition holds.

    Returns:
        Seconds that it took.

    Raises:
        TimeoutError: it does not hold in time; the message says `what` was waited for.
    """
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started


class Replica:
    """A service that is ready; its log, but for the lines of single requests, is kept as events.

    Args:
        children: owns the process.
        serves: a bundle, or a folder of bundles.
        log: file for its log.
        workers: processes that answer.
        port: where to listen; 0 lets the system choose.
        settings: environment variables.
    """

    def __init__(self, children: Children, serves: Path, log: Path, *, workers: int = 2, port: int = 0,
                 **settings: str) -> None:
        self._children, self._events, self._rest = children, list[dict[str, Any]](), b""
        self.workers = workers
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("RETRIEVAL_") and name != "REDIS_URL"}
        with log.open("wb") as output:
            self.process = children.start(
                [sys.executable, "-m", "service", str(serves), "--port", str(port), "--workers", str(workers)],
                env={**kept, "RETRIEVAL_ADMIN_TOKEN": TOKEN, **settings}, stderr=output)
        self._log = log.open("rb")
        self.wait_for("listening")
        self.address = ("127.0.0.1", int(self.events("listening")[0]["port"]))
        self.wait_for("bundle_ready", workers)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of the log with this event."""
        *lines, self._rest = (self._rest + self._log.read()).split(b"\n")
        self._events += [json.loads(line) for line in lines if line.startswith(b"{")
                         and b'"event":"request"' not in line]
        return [event for event in self._events if event["event"] == name]

    def wait_for(self, name: str, count: int = 1) -> float:
        """Waits for the count-th event of this name and returns how long that took, in seconds.

        Raises:
            ServiceEndedError: the service has ended.
            TimeoutError: it does not come.
        """
        def came() -> bool:
            if self.process.poll() is not None and len(self.events(name)) < count:
                raise ServiceEndedError(f"the service ended with {self.process.returncode} when {name} was waited for; "
                                        f"its log is {self._log.name}")
            return len(self.events(name)) >= count

        return until(came, f"the log has {count} x {name}")

    def worker_ids(self) -> list[int]:
        """Process ids of the workers that live and were ready once."""
        ready = dict.fromkeys(int(event["process_id"]) for event in self.events("bundle_ready"))
        return [pid for pid in ready if psutil.pid_exists(pid)]

    def call(self, path: str, body: Any = None, *, token: str = TOKEN) -> tuple[int, Any]:
        """Status and decoded body of a GET, or of a POST where there is a body to send."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request("http://{}:{}".format(*self.address) + path, data,
                                         {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
        try:
            with _http.open(request, timeout=START_SECONDS) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def terminate(self) -> float:
        """Sends SIGTERM and returns how many seconds the service took to end."""
        started = time.monotonic()
        self._children.end(self.process)
        self._log.close()
        return time.monotonic() - started

    def kill_worker(self, pid: int) -> None:
        """Ends one of its workers as the kernel does when memory is short."""
        os.kill(pid, signal.SIGKILL)
