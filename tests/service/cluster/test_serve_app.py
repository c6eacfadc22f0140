"""A root and two shards on a local Ray, as `python -m service.cluster up` runs them, and what is refused."""

import contextlib
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

PATIENCE = 300
"""Seconds for what takes two or three on a machine that has cores to spare."""

TRIES = 5
"""Ray gives up where one of its own processes takes longer than 15 s to begin."""


class UpProcess:
    """`python -m service.cluster up`, its log and its requests."""

    def __init__(self, roots, *more, before="import sys"):
        words = ["--port", "0", "--root-cpus", "0.2", "--shard-cpus", "0.2", *more]
        code = f"{before}; import sys; from service.cluster.__main__ import main; sys.exit(main(sys.argv[1:]))"
        self.process = subprocess.Popen([sys.executable, "-c", code, "up", str(roots / "two"), *words], cwd=ROOT,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, "RETRIEVAL_SHARD_TIMEOUT_MS": "10000",
                                             "RAY_DEDUP_LOGS": "0"})
        self.lines, self.client = [], httpx.Client(trust_env=False, timeout=60)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def events(self, event):
        """What the log says of an event, each as it was written by whichever process."""
        return [json.JSONDecoder().raw_decode(line, line.index("{"))[0]
                for line in list(self.lines) if f'"event":"{event}"' in line]

    def ready(self):
        """Whether it serves; False where Ray itself has not come up in time, as on a machine that halts."""
        listening = until(lambda: self.process.poll() is not None or self.events("listening"), PATIENCE)
        if self.process.poll() is not None:
            assert "timed out during startup" in "".join(self.lines)
            return False
        self.url = f"http://127.0.0.1:{listening[0]['port']}"
        return until(lambda: self.get("/readyz") == 200, PATIENCE)

    def get(self, path):
        try:
            return self.client.get(f"{self.url}{path}").status_code
        except httpx.TransportError:
            return None

    def retrieve(self):
        reply = self.client.post(f"{self.url}/retrieve", json={"user_id": "user-01", "top_k": 300})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def workers(self, name):
        """The processes of Ray that bear a name."""
        found = []
        for one in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                if name in " ".join(one.cmdline()):
                    found.append(one)
        return found

    def kill(self):
        for one in psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []:
            one.kill()
        self.process.kill()


@pytest.fixture
def up():
    """Starts applications; kills what is left of them, and shows the log where the test fails."""
    started = []

    def of(*words, **options):
        for _ in range(TRIES):
            started.append(UpProcess(*words, **options))
            if started[-1].ready():
                return started[-1]
        pytest.fail(f"Ray has not come up, {TRIES} times")

    yield of
    for one in started:
        one.kill()
        print("".join(one.lines[-60:]))


def test_no_request_fails_when_a_shard_is_killed_and_ray_brings_it_back(roots, up):
    running = up(roots)
    whole = running.retrieve()
    assert (len(whole["ads"]), whole["degraded"], whole["coverage"]) == (300, [], 1.0)
    shard, = running.workers("retrieval:shard-1")
    shard.send_signal(signal.SIGKILL)
    shard.wait(60)
    without = until(lambda: (reply := running.retrieve())["degraded"] and reply)
    assert (len(without["ads"]), without["degraded"]) == (150, ["shard"])
    assert without["coverage"] < 1
    again = until(lambda: not (reply := running.retrieve())["degraded"] and reply, PATIENCE)
    assert [ad["ad_id"] for ad in again["ads"]] == [ad["ad_id"] for ad in whole["ads"]]
    service = psutil.Process(running.events("listening")[0]["process_id"])
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0
    assert psutil.wait_procs([service], 30)[1] == []


HASTE = ("from service.cluster import shard_scaling as scaling; scaling.TARGET = 0.02; "
         "scaling.PACE = {'look_back_period_s': 2.0, 'metrics_interval_s': 0.5, 'upscale_delay_s': 0.5, "
         "'downscale_delay_s': 1.0}")
"""Seconds in the place of minutes, and a share that the requests of one test reach."""


@pytest.mark.long
def test_replicas_come_and_go_with_the_load_and_no_answer_lacks_a_shard(roots, up):
    running = up(roots, "--replicas", "1-2", before=HASTE)
    whole = running.retrieve()
    problems, answered, pause, ended = [], [], threading.Event(), threading.Event()

    def ask():
        while not ended.is_set():
            reply = running.client.post(f"{running.url}/retrieve", json={"user_id": "user-01", "top_k": 300})
            if reply.status_code != 200 or reply.json()["degraded"] or reply.json()["ads"] != whole["ads"]:
                problems.append(reply.text)
            answered.append(pause.is_set())
            ended.wait(2 if pause.is_set() else 0)

    def replicas():
        return [len(running.workers(f"retrieval:shard-{number}")) for number in range(2)]

    def used():
        """How many replicas of each shard have been connected to so far."""
        opened = {(event["shard"], event["process_id"]) for event in running.events("shard_open")}
        return [sum(shard == number for shard, _ in opened) for number in range(2)]

    assert replicas() == [1, 1]
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: used() == [2, 2], PATIENCE)
        assert replicas() == [2, 2]
        pause.set()
        until(lambda: {event["shard"] for event in running.events("shard_drained")} == {0, 1}, PATIENCE)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert {True, False} == set(answered)
    assert {event["connections"] for event in running.events("shard_drained")} == {0}


def test_only_a_root_can_be_served(tiny_bundle, roots, tmp_path):
    assert shards_of(roots / "two") == 2
    with pytest.raises(BundleError, match=r"shards.json: is missing, so this bundle is not sharded; shard it with "
                                          r"`python -m index_store shard`, or serve it with `python -m service`"):
        shards_of(tiny_bundle)
    with pytest.raises(PointerError):
        shards_of(roots)


@pytest.mark.parametrize("wrong", [{"port": 70000}, {"roots": 0}, {"shard_cpus": 0}, {"shard": 3}, {"bundles": None},
                                   {"replicas": "4-1"}, {"replicas": 0}, {"replicas": "few"}])
def test_arguments_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClusterArgs(**{"bundles": "/bundles", **wrong})
