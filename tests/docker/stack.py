"""The stack on a real engine: started by docker/up, asked over HTTP, looked at with the engine's own client."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from tests.paths import ROOT

PASSWORDS = ROOT / "docker" / ".env"
NAME = "retrieval-lab"
SERVICES = yaml.safe_load((ROOT / "docker" / "services.yaml").read_text())["services"]
GRAFANA = SERVICES["grafana"]["image"]
PUBLIC, OPERATORS, PROMETHEUS = (f"http://127.0.0.1:{port}" for port in (8080, 8079, 9090))
WHEELS_PORT = 28765  # always the same, for another address would build torch's layer again
START_SECONDS, WAIT_SECONDS = 1800, 120


class Stack:
    """All containers that the engine of DOCKER_HOST can run, in a project of their own; ended with their volumes.

    Where the engine has no bridge network the host's is used. Grafana takes part where its image is there already.

    Args:
        files: of compose, in place of those.
        environment: variables that the files read.
    """

    def __init__(self, *files: str, **environment: str) -> None:
        self.files = files or ("docker/compose.yaml" if bridged() else "docker/compose.host.yaml",)
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        named = " ".join(f"-f {file}" for file in self.files)
        self._compose = f"{'docker compose' if plugin else 'docker-compose'} -p {NAME} {named}"
        self._environment = {**os.environ, **environment, "COMPOSE": self._compose}
        self.http = httpx.Client(timeout=30, trust_env=False)

    def start(self) -> str:
        """Starts it as `make up` does, and returns what that prints."""
        give_away("change-log", "/data")
        with _local_wheels() as address:
            environment = {**self._environment, **({"PIP_FIND_LINKS": address} if address else {})}
            return _run(["docker/up", *self.wanted()], environment, START_SECONDS)

    def wanted(self) -> list[str]:
        """The services that are started."""
        names = yaml.safe_load((ROOT / self.files[0]).read_text())["services"]
        no_grafana = subprocess.run(["docker", "image", "inspect", GRAFANA], capture_output=True).returncode
        return sorted(set(names) - {"locust", "train"} - ({"grafana"} if no_grafana else set()))

    def compose(self, *arguments: str) -> str:
        """Runs the compose client to its end and returns what it prints."""
        return _run([*self._compose.split(), *arguments], self._environment, START_SECONDS)

    def containers(self) -> dict[str, dict]:
        """Container of a service, `service-2` and so on for further ones -> what the engine knows of it."""
        ids = docker("ps", "-q", "--filter", f"label=com.docker.compose.project={NAME}").split()
        found = {}
        for entry in sorted(json.loads(docker("inspect", *ids)), key=lambda entry: entry["Name"]):
            service = entry["Config"]["Labels"]["com.docker.compose.service"]
            found[service if service not in found else f"{service}-{len(found)}"] = entry
        return found

    def query(self, expression: str) -> list[dict]:
        """Samples of an instant query to Prometheus."""
        reply = self.http.get(f"{PROMETHEUS}/api/v1/query", params={"query": expression}).json()
        assert reply["status"] == "success", reply
        return reply["data"]["result"]

    def retrieve(self, **body: object) -> dict:
        """The answer to POST /retrieve through nginx, which must be a 200."""
        response = self.http.post(f"{PUBLIC}/retrieve", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def admin(self, method: str, path: str, **body: object) -> dict:
        """The answer to a call of /admin/ through nginx, with the token of docker/.env."""
        response = self.http.request(method, f"{OPERATORS}/admin/{path}", json=body or None, timeout=300,
                                     headers={"Authorization": f"Bearer {secrets()['ADMIN_TOKEN']}"})
        assert response.status_code == 200, response.text
        return response.json()

    def write(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """The reply to a call about ads through nginx, with the token of docker/.env."""
        return self.http.request(method, f"{OPERATORS}{path}", json=body, headers={
            "Authorization": f"Bearer {secrets()['WRITE_TOKEN']}", **headers})

    def end(self) -> None:
        """Ends all containers and removes their volumes."""
        self.http.close()
        if PASSWORDS.exists():  # else nothing was started
            self.compose("--profile", "load", "--profile", "train", "down", "--volumes")


def secrets() -> dict[str, str]:
    """What docker/up has written to docker/.env."""
    return dict(line.split("=", 1) for line in PASSWORDS.read_text().splitlines())


def docker(*arguments: str) -> str:
    """Runs the engine's client to its end and returns what it prints."""
    return _run(["docker", *arguments], dict(os.environ), WAIT_SECONDS)


def wait_until(condition):
    """What the condition returns, once that is true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.5)
    return result


def _run(command: list[str], environment: dict[str, str], seconds: float) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def bridged() -> bool:
    """Whether the engine has a bridge network."""
    return "bridge" in docker("network", "ls", "--format", "{{.Driver}}").split()


def give_away(service: str, folder: str) -> None:
    """Gives a folder in a stand-in for an image to the user whom it belongs to in that: volumes copy it."""
    image, user = SERVICES[service]["image"], SERVICES[service]["user"]
    owner = subprocess.run(["docker", "run", "--rm", "--network", "none", "--entrypoint", "stat", image, "-c", "%u:%g",
                            folder], capture_output=True, text=True, timeout=WAIT_SECONDS)
    if owner.stdout.strip() != user:
        subprocess.run(["docker", "build", "--tag", image, "-"], text=True, check=True, capture_output=True,
                       input=f"FROM {image}\nUSER root\nRUN mkdir -p {folder} && chown {user} {folder}\n",
                       timeout=WAIT_SECONDS)


@contextmanager
def _local_wheels() -> Iterator[str | None]:
    """Serves the folder of wheels that pip is set to use, if it is one, to the builds of the images."""
    pip = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    folder = subprocess.run(pip, capture_output=True, text=True).stdout.strip()
    if not Path(folder or "none").is_dir():
        yield None
        return
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", WHEELS_PORT), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{WHEELS_PORT}/"
        server.shutdown()
