"""Faults while ads are changed: workers, replicas and the Redis of the change log killed, and that Redis full.

Writes go to two replicas in turn. One that got no answer, or a 503, is repeated with its idempotency key until it is
acknowledged. In the end the log must have each acknowledged write once.
"""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from index_store.changes.open_log import open_log
from index_store.changes.redis_server import DURABLE
from loadtest.chaos.result import Result, judged
from loadtest.chaos.testbed import Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.http.client import Address
from loadtest.processes.redis_server import RedisServer
from loadtest.processes.service_process import TOKEN, ServiceProcess
from service.live.log_place import INDEX

OPTIONS = [text for name, value in DURABLE.items() for text in (f"--{name}", value)]
"""Of a Redis that keeps a change log."""

_ADS = 50
_REPLY_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
_RECOVERY_SECONDS = 60.0


@dataclass(frozen=True)
class Acknowledged:
    """A write that was answered: its ad, the version that the answer names, and how often it was sent."""

    ad_id: str
    version: int
    sent: int


class Writes:
    """A `with` block during which ads are resumed, one after the other, which changes no answer.

    Args:
        addresses: replicas that writes go to in turn.
        ad_ids: ads to write to.
    """

    def __init__(self, addresses: Sequence[Address], ad_ids: Sequence[str]) -> None:
        self._addresses, self._ad_ids = addresses, ad_ids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: list[Acknowledged] = []
        self.problem: str | None = None

    def __enter__(self) -> Writes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self) -> None:
        """Waits until the next writes are acknowledged; by then one has begun that did not before.

        Raises:
            TimeoutError: none are.
        """
        began, enough = time.monotonic(), len(self.acknowledged) + 2
        while len(self.acknowledged) < enough:
            if time.monotonic() - began > _RECOVERY_SECONDS or self.problem:
                raise TimeoutError(f"no write was acknowledged within {_RECOVERY_SECONDS:g} s; {self.problem}")
            time.sleep(_PAUSE_SECONDS)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set() and self.problem is None:
            ad_id = self._ad_ids[number % len(self._ad_ids)]
            self._write(number, ad_id)
            number += 1

    def _write(self, number: int, ad_id: str) -> None:
        """Sends one write until it is acknowledged; the last one too, so that none is left open."""
        for sent in range(1, round(_RECOVERY_SECONDS / _PAUSE_SECONDS)):
            status, body = resume(self._addresses[(number + sent) % len(self._addresses)], ad_id, f"write-{number}")
            if status == 200:
                self.acknowledged.append(Acknowledged(ad_id, body["version"], sent))
                return
            if status not in (0, 503):
                break
            time.sleep(_PAUSE_SECONDS)
        self.problem = f"write {number} was answered with {status}: {body}"


def resume(address: Address, ad_id: str, key: str | None = None) -> tuple[int, dict[str, Any]]:
    """Status and body of a write, which changes no answer; status 0 if there was no reply."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json",
               **({} if key is None else {"Idempotency-Key": key})}
    try:
        with closing(http.client.HTTPConnection(*address, timeout=_REPLY_SECONDS)) as connection:
            connection.request("PATCH", f"/ads/{quote(ad_id, safe='')}", json.dumps({"status": "active"}), headers)
            reply = connection.getresponse()
            return reply.status, json.load(reply)
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}


def change_faults(testbed: Testbed) -> list[Result]:
    """One fault after the other, each repaired before the next; requests for ads go on and none may fail.

    A worker or a replica has recovered when it is ready again and a write is acknowledged, counted from the kill; the
    Redis of the log when a write is acknowledged, counted from its start.
    """
    folder = testbed.folder / "change_log"
    folder.mkdir()
    with RedisServer.start(folder, *OPTIONS) as redis:
        def start(port: int = 0) -> ServiceProcess:
            return testbed.replica(testbed.bundle, port=port, RETRIEVAL_CHANGE_LOG=redis.url,
                                   RETRIEVAL_WRITE_TOKEN=TOKEN)

        replicas = [start() for _ in range(2)]
        addresses = [replica.address for replica in replicas]

        def worker_killed() -> float:
            ready = len(replicas[1].events_named("bundle_ready"))
            began = time.monotonic()
            replicas[1].kill_worker(replicas[1].live_worker_ids()[0])
            replicas[1].wait_for_event("bundle_ready", ready + 1)
            return began

        def service_killed() -> float:
            began = time.monotonic()
            _kill(replicas[0])
            replicas[0] = start(addresses[0][1])
            return began

        def log_killed() -> float:
            redis.kill()
            traffic.spend(testbed.scale.seconds / 2)
            began = time.monotonic()
            redis.launch()
            return began

        def log_full() -> float:
            redis.client.config_set("maxmemory", 1)
            traffic.spend(testbed.scale.seconds / 2)
            redis.client.config_set("maxmemory", 0)
            return time.monotonic()

        kills: dict[str, Callable[[], float]] = {
            "worker killed": worker_killed, "service killed": service_killed, "log killed": log_killed}
        recoveries: dict[str, list[float]] = {}
        with Traffic(addresses, testbed.answers, testbed.scale.rate, tries=2) as traffic, \
                Writes(addresses, testbed.ad_ids(_ADS)) as writes:
            traffic.phase("before")
            writes.wait_for_more()
            traffic.spend(testbed.scale.seconds / 2)
            for name, fault in [*islice(cycle(kills.items()), testbed.scale.write_kills), ("log full", log_full)]:
                traffic.phase(f"during {name}")
                began = fault()
                writes.wait_for_more()
                recoveries.setdefault(name, []).append(time.monotonic() - began)
                traffic.spend(testbed.scale.seconds / 2)
        lost, twice = _compared(redis.url, writes.acknowledged)
        for replica in replicas:
            replica.stop()
    facts = {"kills": testbed.scale.write_kills, "acknowledged": len(writes.acknowledged), "lost": lost,
             "twice": twice, "repeated": sum(one.sent > 1 for one in writes.acknowledged),
             "recovery_s": {name: {"times": len(seconds), "median": round(median(seconds), 3),
                                   "longest": round(max(seconds), 3)} for name, seconds in recoveries.items()}}
    problems = [text for text in (
        f"{lost} acknowledged writes are not in the log" if lost else None,
        f"{twice} writes are in the log twice" if twice else None, writes.problem) if text]
    return [judged("writes under faults", traffic.phases(), facts, problems)]


def _kill(replica: ServiceProcess) -> None:
    """SIGKILL of all processes of a replica."""
    replica.process.send_signal(signal.SIGKILL)
    for worker in replica.live_worker_ids():
        replica.kill_worker(worker)
    replica.finish()


def _compared(where: str | Path, acknowledged: Sequence[Acknowledged]) -> tuple[int, int]:
    """Acknowledged writes that a log does not have, and entries of the log beyond one for each write."""
    with closing(open_log(str(where), INDEX)) as log:
        found: dict[int, str] = {}
        while page := log.read(len(found)):
            found.update((change.sequence, change.id) for change in page)
    lost = sum(found.get(one.version) != one.ad_id for one in acknowledged)
    return lost, len(found) - (len(acknowledged) - lost)
