"""Faults of the change log itself: replaced by another one while workers follow it, and its disk full."""

from __future__ import annotations

import resource
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from index_store.changes.backup import back_up, restore
from index_store.changes.change_log import Kind, Write
from index_store.changes.open_log import open_log
from loadtest.chaos.change_faults import OPTIONS, resume
from loadtest.chaos.result import Result, judged
from loadtest.chaos.testbed import Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.processes.redis_server import RedisServer
from loadtest.processes.service_process import TOKEN, ServiceProcess
from service.live.log_place import INDEX

_WRITES = 20
_REPAIR_SECONDS = 60.0
_PAUSE_SECONDS = 0.02


def log_replaced(testbed: Testbed) -> list[Result]:
    """The log of a running service replaced by an older backup, by nothing, and by that of another index.

    Each time writes have to be refused, and made again once the log is put back; requests for ads go on.
    """
    folder = testbed.folder / "replaced_log"
    folder.mkdir()
    (ad_id,) = testbed.ad_ids(1)
    older, whole, other = (folder / name for name in ("older", "whole", "other"))
    with closing(open_log(str(other), INDEX)) as log:
        log.append([Write(kind=Kind.AD, id=ad_id, fields={"status": "deleted"})] * 10 * _WRITES)
    with RedisServer.start(folder, *OPTIONS) as redis:
        replica = testbed.replica(testbed.bundle, RETRIEVAL_CHANGE_LOG=redis.url, RETRIEVAL_WRITE_TOKEN=TOKEN)
        write = partial(resume, replica.address, ad_id)
        faults = {"older backup": older, "emptied": None, "log of another index": other}
        facts: dict[str, Any] = {}
        problems = []
        with Traffic([replica.address], testbed.answers, testbed.scale.rate) as traffic:
            traffic.phase("before")
            for _ in range(_WRITES):
                write()
            _save(redis, older)
            for name, substitute in faults.items():
                traffic.phase(f"during {name}")
                for _ in range(_WRITES):
                    write()
                whole.unlink(missing_ok=True)
                made = _save(redis, whole)
                began = datetime.now(UTC)
                _put(redis, substitute)
                noticed = _seconds_until_all_say(replica, "changes_unreadable", began)
                status, body = write()
                if status != 503:
                    problems.append(f"a write was answered with {status} after the log was replaced: {name}")
                traffic.spend(testbed.scale.seconds / 2)
                began = datetime.now(UTC)
                _put(redis, whole)
                recovered = _seconds_until_all_say(replica, "changes_readable", began)
                status, body = write()
                if status != 200 or body["version"] != made + 1:
                    problems.append(f"{made} changes are back after {name}, but the next write was answered with "
                                    f"{status}: {body}")
                facts[name] = {"noticed_s": noticed, "recovery_s": recovered}
            traffic.phase("after")
            traffic.spend(testbed.scale.seconds / 2)
        replica.stop()
    return [judged("log replaced", traffic.phases(), facts, problems)]


def disk_full(testbed: Testbed) -> list[Result]:
    """No file of the workers may grow: writes to a log in SQLite are refused, requests go on; then there is room."""
    folder = testbed.folder / "full_disk"
    folder.mkdir()
    (ad_id,) = testbed.ad_ids(1)
    replica = testbed.replica(testbed.bundle, RETRIEVAL_CHANGE_LOG=str(folder / "log"), RETRIEVAL_WRITE_TOKEN=TOKEN)
    write = partial(resume, replica.address, ad_id)
    problems = []
    with Traffic([replica.address], testbed.answers, testbed.scale.rate) as traffic:
        traffic.phase("before")
        made = [write() for _ in range(_WRITES)]
        traffic.phase("during")
        _limit_files(replica, (folder / "log-wal").stat().st_size)
        until, refused = time.monotonic() + testbed.scale.seconds / 2, 0
        while time.monotonic() < until:
            status, body = write()
            refused += status == 503
            if status != 503:
                problems.append(f"a write was answered with {status} on a full disk: {body}")
            traffic.spend(_PAUSE_SECONDS)
        began = time.monotonic()
        _limit_files(replica, resource.RLIM_INFINITY)
        while write()[0] != 200:
            if time.monotonic() - began > _REPAIR_SECONDS:
                raise TimeoutError(f"no write was acknowledged within {_REPAIR_SECONDS:g} s")
            traffic.spend(_PAUSE_SECONDS)
        recovered = round(time.monotonic() - began, 3)
        traffic.phase("after")
        traffic.spend(testbed.scale.seconds / 2)
    replica.stop()
    with closing(open_log(str(folder / "log"), INDEX)) as log:
        if log.last() != len(made) + 1 or len(log.read(0)) != log.last():
            problems.append(f"{len(made) + 1} writes were acknowledged, but the log has {log.last()}")
    return [judged("log's disk full", traffic.phases(), {"refused": refused, "recovery_s": recovered}, problems)]


def _save(redis: RedisServer, file: Path) -> int:
    with closing(open_log(redis.url, INDEX)) as log:
        return back_up(log, file)


def _put(redis: RedisServer, backup: Path | None) -> None:
    redis.client.flushall()
    if backup is not None:
        restore(backup, redis.url)


def _seconds_until_all_say(replica: ServiceProcess, event: str, began: datetime) -> float:
    """Seconds from a time until each worker has logged an event since."""
    def all_say() -> bool:
        since = {found["process_id"] for found in replica.events_named(event)
                 if datetime.fromisoformat(found["time"]) >= began}
        return len(since) == replica.workers

    replica.wait_until(all_say, f"all workers say {event}")
    return round((datetime.now(UTC) - began).total_seconds(), 3)


def _limit_files(replica: ServiceProcess, size: int) -> None:
    """Lets no file of the workers grow beyond a size, as if the disk were full."""
    for worker in replica.live_worker_ids():
        hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, hard))
