"""The service as a child process: started, followed by its log, called over HTTP, stopped."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.processes.logged_process import LoggedProcess, Spawn

HOST = "127.0.0.1"
TOKEN = "token-of-this-run-alone"

# No proxy: everything here stays on this machine.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def service_environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of the service, plus an admin token and the given settings."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("RETRIEVAL_") and name != "REDIS_URL"}
    return {**kept, "RETRIEVAL_ADMIN_TOKEN": TOKEN, **settings}


class ListeningProcess(LoggedProcess):
    """A process that logs where the service listens, and answers HTTP there.

    Args:
        command: program and arguments.
        log, environment, spawn: see LoggedProcess.

    Attributes:
        address: host and port of the service.
        url: the same as a URL.

    Raises:
        ProcessEndedError, TimeoutError: it does not listen.
    """

    def __init__(self, command: Sequence[str], log: Path, *, environment: Mapping[str, str],
                 spawn: Spawn = subprocess.Popen, stdout: int | None = None) -> None:
        super().__init__(command, log, environment=environment, spawn=spawn, stdout=stdout)
        try:
            listening = self.wait_for_event("listening")
            self.address = (str(listening["host"]), int(listening["port"]))
        except BaseException:
            self.process.kill()
            raise
        host, port = self.address
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def events_named(self, name: str) -> list[dict[str, Any]]:
        """The lines of the log with this event, without what others wrote around them."""
        return [json.JSONDecoder().raw_decode(line, line.index("{"))[0]
                for line in self.lines if f'"event":"{name}"' in line]

    def wait_for_event(self, name: str, count: int = 1) -> dict[str, Any]:
        """Waits for the count-th line with this event, and returns it.

        Raises:
            ProcessEndedError: the process has ended.
            TimeoutError: the line does not come.
        """
        return self.wait_until(lambda: next(iter(self.events_named(name)[count - 1:]), None),
                               f"the log has {count} x {name}") or {}

    def call(self, path: str, body: Any = None, *, token: str = TOKEN) -> tuple[int, Any]:
        """Status and decoded body of a GET, or of a POST if there is a body to send.

        Raises:
            OSError: the service did not reply.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json",
                                                                 "Authorization": f"Bearer {token}"})
        try:
            with _http.open(request, timeout=self.patience) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples.

        Raises:
            OSError: the service did not reply.
        """
        with _http.open(f"{self.url}/metrics", timeout=self.patience) as response:
            families = text_string_to_metric_families(response.read().decode())
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)


class ServiceProcess(ListeningProcess):
    """A service that listens on this machine.

    Args:
        serves: a bundle, or a folder of bundles.
        log: file that its log is appended to.
        environment: all of its environment variables; see `service_environment`.
        workers: number of worker processes.
        port: where to listen; 0 lets the system choose.
        spawn: starts the process.

    Raises:
        ProcessEndedError, TimeoutError: it does not listen.
    """

    def __init__(self, serves: Path, log: Path, *, environment: Mapping[str, str], workers: int = 1, port: int = 0,
                 spawn: Spawn = subprocess.Popen) -> None:
        self.workers = workers
        command = [sys.executable, "-m", "service", str(serves), "--host", HOST, "--port", str(port), "--workers",
                   str(workers)]
        # Nothing is written to standard output, but every process of the service holds that pipe open until it ends.
        super().__init__(command, log, environment=environment, spawn=spawn, stdout=subprocess.PIPE)

    def wait_until_ready(self) -> None:
        """Waits until every worker has the bundle open and is warm; errors as those of `wait_for_event`."""
        self.wait_for_event("bundle_ready", self.workers)

    def worker_ids(self) -> list[int]:
        """Process ids of all workers that ever became ready, oldest first."""
        return list(dict.fromkeys(int(event["process_id"]) for event in self.events_named("bundle_ready")))

    def live_worker_ids(self) -> list[int]:
        """Process ids of the workers that became ready and are still running."""
        return [pid for pid in self.worker_ids() if psutil.pid_exists(pid)]

    def kill_worker(self, pid: int) -> None:
        """Kills one of its workers with SIGKILL, as the kernel does when memory runs out."""
        os.kill(pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether the supervisor and all workers have ended."""
        return self.process.poll() is not None and self._is_closed(0)

    def _wait_for_descendants(self) -> None:
        if not self._is_closed(self.patience):
            raise TimeoutError(f"the service ended, but a worker still runs after {self.patience:g} s")
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _is_closed(self, seconds: float) -> bool:
        """Whether every process that holds the pipe of standard output ends within some seconds."""
        pipe = self.process.stdout
        return pipe is None or pipe.closed or bool(select.select([pipe], [], [], seconds)[0])
