"""Metric values in shared memory: nothing is lost, whoever dies, and everybody reads the sum."""

import multiprocessing
import os
import signal
import threading

import pytest

from service.telemetry.shared_values import AcrossProcesses, Region, SharedMemory, entries

SPAWN = multiprocessing.get_context("spawn")


def count(memory, region, ready):
    """A process that counts in its region, and is killed."""
    from service.telemetry import metrics
    from service.telemetry.shared_values import attach

    metrics.REFUSED.labels("overloaded").inc(2)  # before it is told of the shared memory
    metrics.QUEUED.set(5)
    attach(memory, region)
    metrics.REFUSED.labels("overloaded").inc()
    metrics.QUEUED.inc()
    metrics.POINTER_MISMATCH.set(region)
    for seconds in (0.0002, 0.003, 9.0):
        metrics.STAGE_SECONDS.labels("total").observe(seconds)
    ready.send(None)
    signal.pause()


def show(memory, region, answer):
    from service.telemetry import metrics
    from service.telemetry.shared_values import attach

    attach(memory, region)
    answer.send(metrics.render().decode())


def started(target, memory, region):
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(memory, region, theirs), daemon=True)
    process.start()
    assert ours.poll(60)
    return process, ours.recv()


def shown(memory):
    """`name{labels}` -> value, as a process reads it that has counted nothing."""
    text = started(show, memory, 2)[1]
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


def test_values_of_all_processes_add_up_when_some_were_killed():
    memory = SharedMemory.create(3)
    processes = [started(count, memory, region)[0] for region in (0, 1)]
    values = shown(memory)
    assert values['retrieval_admission_refused_total{reason="overloaded"}'] == 6
    assert values["retrieval_queue_length"] == 12
    assert values["retrieval_bundle_pointer_mismatch"] == 1  # the maximum
    stage = 'retrieval_stage_seconds_{}{{stage="total"}}'
    assert values[stage.format("count")] == 6
    assert values[stage.format("sum")] == pytest.approx(2 * 9.0032)
    buckets = {bound: values[f'retrieval_stage_seconds_bucket{{le="{bound}",stage="total"}}']
               for bound in ("0.0001", "0.00025", "0.0025", "0.005", "2.5", "+Inf")}
    assert buckets == {"0.0001": 0, "0.00025": 2, "0.0025": 2, "0.005": 4, "2.5": 4, "+Inf": 6}
    for process in processes:
        process.kill()
        process.join()
    Region(memory.files[1]).reset_gauges()
    values = shown(memory)
    assert values['retrieval_admission_refused_total{reason="overloaded"}'] == 6
    assert values["retrieval_queue_length"] == 6
    process, _ = started(count, memory, 1)  # in the place of a dead one
    values = shown(memory)
    assert values['retrieval_admission_refused_total{reason="overloaded"}'] == 9
    assert values["retrieval_queue_length"] == 12
    assert values[stage.format("count")] == 9
    process.kill()


def test_region_grows_when_it_is_full():
    (file,) = SharedMemory.create(1).files
    region = Region(file)
    for number in range(5_000):
        at = region.place(b"key %d %s" % (number, b"x" * (number % 90)))
        region.values[at] = number
    assert os.fstat(file).st_size > 1 << 16
    found = {key: value for _, key, value in entries(file)}
    assert found == {b"key %d %s" % (n, b"x" * (n % 90)): n for n in range(5_000)}
    again = Region(file)
    assert [again.place(key) for key in found] == [region.place(key) for key in found]


def test_reader_sees_whole_entries_when_the_writer_goes_on():
    (file,) = SharedMemory.create(1).files
    region, done = Region(file), threading.Event()

    def write():
        for number in range(3_000):
            at = region.place(b"key %d" % number)
            region.values[at] = number + 1
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        for _, key, value in entries(file):
            assert value in (0, int(key.split()[1]) + 1)
    thread.join()
    assert len(list(entries(file))) == 3_000


def test_one_gauge_is_read_in_every_region_and_found_where_a_region_has_grown():
    from prometheus_client import Gauge

    from service.telemetry import metrics  # noqa: F401  (puts values into shared memory)

    gauge = Gauge("test_across_processes", "Of this test", ["worker"], registry=None)
    across = AcrossProcesses(gauge)
    (before,) = across.values()
    assert before == []
    gauge.labels("0").set(7)
    assert across.values() == [[7]]
    gauge.labels("1").set(8)
    gauge.labels("0").set(9)
    assert across.values() == [[9, 8]]
