"""The real service as a process, spoken to over real HTTP."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from tests.paths import ROOT

START_SECONDS = 60
ADMIN_TOKEN = "admin-token-of-the-tests"


def command_line(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `python -m service` to its end."""
    return subprocess.run([sys.executable, "-m", "service", *map(str, arguments)], cwd=ROOT,
                          env=_environment(environment), capture_output=True, text=True, timeout=START_SECONDS)


class ServiceProcess:
    """A running service on a port of the system's choice.

    Args:
        bundle: what it serves.
        arguments: more of them on the command line.
        workers: number of worker processes.
        ready: wait until this state of /readyz.
        environment: its settings.
    """

    def __init__(self, bundle: Path, *arguments: str, workers: int = 1, ready: bool = True, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", str(bundle), "--port", "0", "--workers", str(workers), *arguments],
            cwd=ROOT, env=_environment(environment), stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            listening = self.wait_for_event("listening")
            host = f"[{listening['host']}]" if ":" in listening["host"] else listening["host"]
            self.http = httpx.Client(base_url=f"http://{host}:{listening['port']}", timeout=30, trust_env=False)
            if ready:
                self.wait_for_event("bundle_ready", count=workers)
        except BaseException:
            self.process.kill()
            raise

    @property
    def events(self) -> list[dict]:
        """Lines of the log so far."""
        return [json.loads(line) for line in list(self.lines)]

    def wait_for_event(self, name: str, count: int = 1) -> dict:
        """The count-th line of this event, once it is there."""
        return self.wait_until(lambda: next(iter([e for e in self.events if e["event"] == name][count - 1:]), None))

    def wait_until(self, condition):
        """What the condition returns, once that is true."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            result = condition()
            if result:
                return result
            if self.process.poll() is not None and not self._reader.is_alive() and not condition():
                raise RuntimeError(f"service ended with {self.process.returncode}: {''.join(self.lines)}")
            if time.monotonic() > deadline:
                raise TimeoutError("".join(self.lines))
            time.sleep(0.02)

    def retrieve(self, **body: object) -> dict:
        """The answer to POST /retrieve, which must be a 200."""
        response = self.http.post("/retrieve", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def admin(self, path: str = "", body: object = None, token: str = ADMIN_TOKEN) -> httpx.Response:
        """The reply to GET /admin/bundles, or to POST /admin/bundles/load or rollback."""
        return self.http.request("POST" if path else "GET", f"/admin/bundles{path}", json=body, timeout=150,
                                 headers={"Authorization": f"Bearer {token}"})

    def load(self, bundle: str, *, force: bool = True) -> dict:
        """Loads a bundle, which must succeed; by force whatever the promotion gate would say."""
        response = self.admin("/load", {"bundle": bundle, "force": force})
        assert response.status_code == 200, response.text
        return response.json()

    def worker_ids(self) -> list[int]:
        """Process ids of all workers that ever got ready."""
        return [event["process_id"] for event in self.events if event["event"] == "bundle_ready"]

    def metrics(self) -> dict[str, float]:
        """`name{labels}` -> value."""
        lines = self.http.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the service and returns its exit status, once no process of it holds the log open any more."""
        self.process.send_signal(number)
        status = self.process.wait(START_SECONDS)
        self._reader.join(START_SECONDS)
        self.http.close()
        if self._reader.is_alive():
            raise TimeoutError("the service ended, but a worker still runs")
        return status

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment without settings of the service, but those given; an end without a drain."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("RETRIEVAL_") and name != "REDIS_URL"}
    return {**kept, "RETRIEVAL_DRAIN_SECONDS": "0", "RETRIEVAL_ADMIN_TOKEN": ADMIN_TOKEN, **settings}
