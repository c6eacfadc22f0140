"""What each worker has applied, read from the memory that all of them share."""

import asyncio
import multiprocessing
import signal
import threading
import time

import pytest

from service.live.applied import applied_by_others, applied_by_workers, publish, wait_until_applied
from service.telemetry import metrics
from service.telemetry.shared_values import SharedMemory, attach

SPAWN = multiprocessing.get_context("spawn")


def work(memory, region, as_of, serves, ready):
    """A worker that has applied a change, and serves or does not."""
    attach(memory, region)
    if serves:
        metrics.BUNDLE_ACTIVE.labels("one").set(1)
    if as_of:
        publish(as_of)
    ready.send(None)
    signal.pause()


def read(memory, answer):
    attach(memory, 3)
    answer.send((applied_by_workers(), applied_by_others(), asyncio.run(wait_until_applied(5, 0.01))))


@pytest.fixture
def memory():
    """Workers 0 and 1 serve, of which 0 has applied nothing yet; 2 does not serve; region 3 is of the supervisor."""
    memory, pipes, processes = SharedMemory.create(4), [], []
    for region, (as_of, serves) in enumerate([(0, True), (7, True), (3, False)]):
        ours, theirs = SPAWN.Pipe()
        pipes.append(ours)
        processes.append(SPAWN.Process(target=work, args=(memory, region, as_of, serves, theirs), daemon=True))
        processes[-1].start()
    assert all(pipe.poll(60) for pipe in pipes)
    yield memory
    for process in processes:
        process.kill()
        process.join()


def test_workers_that_serve_are_listed_with_what_they_have_applied(memory):
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=read, args=(memory, theirs), daemon=True)
    process.start()
    assert ours.poll(60)
    assert ours.recv() == ({0: 0, 1: 7}, 7, {0: 0})
    process.join()


def test_wait_ends_as_soon_as_the_last_worker_has_applied_the_change():
    metrics.BUNDLE_ACTIVE.labels("one").set(1)
    publish(4)
    later = threading.Timer(0.1, publish, [5])
    later.start()
    start = time.monotonic()
    assert asyncio.run(wait_until_applied(5, 30)) == {}
    assert applied_by_others() == 0
    assert time.monotonic() - start < 20
    later.join()
    metrics.BUNDLE_ACTIVE.labels("one").set(0)
