"""The stack of a sharded bundle for real: two Ray nodes, nginx, Redis and Prometheus on a Docker engine."""

import re
import secrets
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import yaml

from tests.docker.stack import PASSWORDS, PUBLIC, Stack, bridged, docker, give_away, wait_until
from tests.paths import ROOT
from tests.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.lab

FILE = "docker/compose.cluster.yaml"
NODES = ("ray-head", "ray-worker")
RESOLVES = (1, 27, 3)
"""The first nginx that finds replicas by their name again as they come and go."""

KILL = """
import contextlib, os, pathlib, signal
for process in pathlib.Path('/proc').glob('[0-9]*'):
    with contextlib.suppress(OSError):
        if (process / 'cmdline').read_text().startswith('ray::ServeReplica:retrieval:shard-1'):
            os.kill(int(process.name), signal.SIGKILL)
            print('killed')
"""


class ClusterStack(Stack):
    """The stack, started by the commands in the head of its file."""

    def start(self) -> str:
        if not PASSWORDS.exists():
            PASSWORDS.touch(0o600)
            PASSWORDS.write_text("".join(f"{name}={secrets.token_hex(16)}\n" for name in (
                "REDIS_PASSWORD", "ADMIN_TOKEN", "WRITE_TOKEN", "GRAFANA_PASSWORD")))
        give_away("change-log", "/data")
        give_away("prometheus", "/prometheus")
        head = re.sub(r"\\\n#\s*", "", (ROOT / FILE).read_text().split("services:")[0])
        commands = [shlex.split(line) for line in re.findall(r"^#   docker compose (.*)$", head, re.MULTILINE)]
        assert [command[0] for command in commands] == ["build", "run", "run", "up"]
        for command in commands:
            said = self.compose(*command, *(self.wanted() if command[0] == "up" else []))
        return said

    def shard(self, bundle: str, name: str) -> None:
        self.compose("run", "--rm", "--no-deps", "--entrypoint", "python -m index_store", "ray-head", "shard",
                     f"/bundles/{bundle}", "--shards", "2", "--out", f"/bundles/{name}")

    def whole(self) -> dict:
        """An answer with all ads, once there is one."""
        def answered():
            reply = self.http.post(f"{PUBLIC}/retrieve", json={"user_id": "user-01", "top_k": 300})
            return reply.status_code == 200 and not reply.json()["degraded"] and reply.json()
        return wait_until(answered)


def for_this_engine(folder) -> str:
    """What an engine without a default bridge, and an older nginx, need beside the file.

    Two Ray nodes take 3 GB: where memory is short, they are the first to go.
    """
    names = yaml.safe_load((ROOT / FILE).read_text())["services"]
    changes: dict[str, dict] = {name: {"oom_score_adj": 700} for name in names}
    if not bridged():
        for node in NODES:
            changes[node]["build"] = {"network": "host"}
    version = subprocess.run(["docker", "run", "--rm", "--network", "none", "nginx:1.28", "nginx", "-v"],
                             capture_output=True, text=True).stderr
    if tuple(map(int, re.findall(r"\d+", version)[:3])) < RESOLVES:
        text = (ROOT / "docker" / "nginx" / "replicas.host.conf").read_text()
        for node, address in zip(NODES, ("127.0.0.1:8081", "127.0.0.1:8082"), strict=True):
            text = text.replace(address, f"{node}:8080")
        (folder / "replicas.conf").write_text(text)
        changes["nginx"]["volumes"] = [f"{folder}/replicas.conf:/etc/nginx/replicas.conf:ro"]
    (folder / "engine.yaml").write_text(yaml.safe_dump({"services": changes}))
    return str(folder / "engine.yaml")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    made = subprocess.run(["docker", "network", "create", "retrieval-probe"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"two roots need two addresses, and this engine has no bridge networks: {made.stderr.strip()}")
    docker("network", "rm", "retrieval-probe")
    bundles = tmp_path_factory.mktemp("bundles")
    for seed, name in enumerate(("whole", "whole-2")):
        write_tiny_bundle(bundles / name, seed=seed)
    for folder in (bundles, *bundles.iterdir()):
        folder.chmod(0o777)
    started = ClusterStack(FILE, for_this_engine(tmp_path_factory.mktemp("engine")), BUNDLES=str(bundles))
    try:
        started.start()
        started.whole()
        yield started
    finally:
        started.end()


def test_both_nodes_have_a_root_and_are_healthy_when_up(stack):
    wait_until(lambda: all(stack.containers()[name]["State"]["Health"]["Status"] == "healthy" for name in NODES))
    requests = 'sum by (instance) (retrieval_requests_total{endpoint="/retrieve", status="200"}) > 0'
    wait_until(lambda: stack.whole() and len(stack.query(requests)) == 2)


def test_prometheus_scrapes_both_roots(stack):
    wait_until(lambda: len(stack.query('up{job="retrieval"} == 1')) == 2)
    wait_until(lambda: len(stack.query("retrieval_shards_missing == 0")) == 2)


def test_no_request_fails_and_ads_come_back_when_a_shard_is_killed_and_ray_starts_it_anew(stack):
    whole, problems, degraded, over = stack.whole(), [], [], Event()

    def ask():
        while not over.is_set():
            reply = stack.http.post(f"{PUBLIC}/retrieve", json={"user_id": "user-01", "top_k": 300})
            if reply.status_code != 200:
                problems.append(reply.text)
            elif (body := reply.json())["degraded"]:
                degraded.append((tuple(body["degraded"]), len(body["ads"]), body["coverage"] < 1))

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            killed = [stack.compose("exec", "-T", node, "python", "-c", KILL) for node in NODES]
            wait_until(lambda: degraded)
            again = stack.whole()
        finally:
            over.set()
        for future in asking:
            future.result()
    assert "".join(killed).split() == ["killed"]
    assert problems == []
    assert set(degraded) == {(("shard",), 150, True)}
    assert again["ads"] == whole["ads"]


def test_both_roots_follow_the_pointer_when_another_sharded_bundle_is_loaded(stack):
    former = stack.whole()
    stack.shard("whole-2", "sharded-2")
    assert stack.admin("POST", "bundles/load", bundle="sharded-2")["bundle"] == "sharded-2"
    followed = "retrieval_bundle_pointer_mismatch == 0 and on (instance) retrieval_bundle_swaps_total > 0"
    wait_until(lambda: len(stack.query(followed)) == 2)
    answers = [stack.whole() for _ in range(10)]
    assert former["bundle_id"] not in {answer["bundle_id"] for answer in answers}
    assert len({str(answer["ads"]) for answer in answers}) == 1
    assert answers[0]["ads"] != former["ads"]


def test_a_node_that_goes_takes_no_ads_along_for_good_and_its_root_comes_back(stack):
    container = stack.containers()["ray-worker"]["Id"]
    docker("restart", container)
    stack.whole()
    wait_until(lambda: stack.containers()["ray-worker"]["State"]["Health"]["Status"] == "healthy")
    wait_until(lambda: len(stack.query('up{job="retrieval"} == 1')) == 2)
