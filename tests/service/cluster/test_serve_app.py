"""A root and two shards on a local Ray, as `python -m service.cluster up` runs them, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import threading

import httpx
import psutil
import pytest

from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import PointerError
from service.cluster.serve_app import ClusterArgs, shards_of
from tests.paths import ROOT
from tests.service.cluster.running_shards import until

pytest.importorskip("ray", reason="the extra `cluster` is not installed")


class UpProcess:
    """`python -m service.cluster up`, its log and its requests."""

    def __init__(self, roots):
        words = ["--port", "0", "--root-cpus", "0.2", "--shard-cpus", "0.2"]
        self.process = subprocess.Popen([sys.executable, "-m", "service.cluster", "up", str(roots / "two"), *words],
                                        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, "RETRIEVAL_SHARD_TIMEOUT_MS": "10000"})
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def events(self, event):
        """What the log says of an event, each as it was written by whichever process."""
        return [json.loads(line[line.index("{"):]) for line in list(self.lines) if f'"event":"{event}"' in line]

    def wait_until_ready(self):
        listening = until(lambda: self.process.poll() is None and self.events("listening"), 120)
        self.url = f"http://127.0.0.1:{listening[0]['port']}"
        until(lambda: self.get("/readyz") == 200, 120)

    def get(self, path):
        try:
            return httpx.get(f"{self.url}{path}", trust_env=False, timeout=60).status_code
        except httpx.TransportError:
            return None

    def retrieve(self):
        reply = httpx.post(f"{self.url}/retrieve", json={"user_id": "user-01", "top_k": 300}, trust_env=False,
                           timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def workers(self, name):
        """The processes of Ray that bear a name."""
        return [one for one in psutil.Process(self.process.pid).children(recursive=True)
                if name in " ".join(one.cmdline())]


def test_no_request_fails_when_a_shard_is_killed_and_ray_brings_it_back(roots):
    up = UpProcess(roots)
    try:
        up.wait_until_ready()
        whole = up.retrieve()
        assert (len(whole["ads"]), whole["degraded"], whole["coverage"]) == (300, [], 1.0)
        shard, = up.workers("retrieval:shard-1")
        shard.send_signal(signal.SIGKILL)
        shard.wait(60)
        without = until(lambda: (reply := up.retrieve())["degraded"] and reply)
        assert (len(without["ads"]), without["degraded"]) == (150, ["shard"])
        assert without["coverage"] < 1
        again = until(lambda: not (reply := up.retrieve())["degraded"] and reply, 120)
        assert [ad["ad_id"] for ad in again["ads"]] == [ad["ad_id"] for ad in whole["ads"]]
        service = psutil.Process(up.events("listening")[0]["process_id"])
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0
        assert psutil.wait_procs([service], 30)[1] == []
    except BaseException:
        print("".join(up.lines[-40:]))
        raise
    finally:
        for one in psutil.Process(up.process.pid).children(recursive=True) if up.process.poll() is None else []:
            one.kill()
        up.process.kill()


def test_only_a_root_can_be_served(tiny_bundle, roots, tmp_path):
    assert shards_of(roots / "two") == 2
    with pytest.raises(BundleError, match=r"shards.json: is missing, so this bundle is not sharded; shard it with "
                                          r"`python -m index_store shard`, or serve it with `python -m service`"):
        shards_of(tiny_bundle)
    with pytest.raises(PointerError):
        shards_of(roots)


@pytest.mark.parametrize("wrong", [{"port": 70000}, {"roots": 0}, {"shard_cpus": 0}, {"shard": 3}, {"bundles": None}])
def test_arguments_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClusterArgs(**{"bundles": "/bundles", **wrong})
