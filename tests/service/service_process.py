"""The real service as a process, spoken to over real HTTP."""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import httpx

from loadtest.processes import service_process
from loadtest.processes.logged_process import Spawn
from loadtest.processes.service_process import TOKEN as ADMIN_TOKEN
from loadtest.processes.service_process import service_environment
from tests.paths import ROOT


def command_line(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `python -m service` to its end."""
    return subprocess.run([sys.executable, "-m", "service", *map(str, arguments)], cwd=ROOT,
                          env=_environment(environment), capture_output=True, text=True, timeout=300)


class ServiceProcess(service_process.ServiceProcess):
    """A running service on a port of the system's choice, with the calls that tests make.

    Args:
        bundle: what it serves.
        workers: number of worker processes.
        ready: wait until every worker is warm.
        spawn: starts the process.
        environment: its settings.
    """

    patience = 300.0

    def __init__(self, bundle: Path, *, workers: int = 1, ready: bool = True, spawn: Spawn = subprocess.Popen,
                 **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="service-")
        super().__init__(bundle, Path(self._folder.name) / "log", environment=_environment(environment),
                         workers=workers, spawn=partial(spawn, cwd=ROOT, start_new_session=True))
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        try:
            if ready:
                self.wait_until_ready()
        except BaseException:
            self.process.kill()
            raise

    @property
    def events(self) -> list[dict]:
        """Lines of the log so far."""
        return [json.loads(line) for line in self.lines]

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

    def metrics(self) -> dict[str, float]:
        """`name{labels}` -> value."""
        lines = self.http.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def finish(self) -> int:
        """Waits for the end of the service and all its workers, and returns the exit status."""
        status = super().finish()
        self.http.close()
        self._folder.cleanup()
        return status


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """Settings of the tests: those given, and an end without a drain."""
    return service_environment(**{"RETRIEVAL_DRAIN_SECONDS": "0", **settings})
