"""Several workers: their metrics add up, a dead one is replaced, and nobody stays behind."""

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.service_process import ServiceProcess

ANSWERED = 'retrieval_requests_total{endpoint="/retrieve",error_type="",status="200"}'


def active(process):
    (count,) = [value for name, value in process.metrics().items() if name.startswith("retrieval_bundle_active{")]
    return count


@pytest.fixture(scope="module")
def two_workers(tiny_bundle):
    with ServiceProcess(tiny_bundle, workers=2) as process:
        yield process


def ask_on_new_connection(process):
    process.http.post("/retrieve", json={"user_id": "user-01"}, headers={"Connection": "close"}).raise_for_status()


def workers_that_answered(process):
    return {event["process_id"] for event in process.events if event.get("endpoint") == "/retrieve"}


def test_metrics_add_up_when_both_workers_have_answered(two_workers):
    asked = two_workers.metrics().get(ANSWERED, 0)
    with ThreadPoolExecutor(8) as pool:
        while len(workers_that_answered(two_workers)) < 2:
            list(pool.map(lambda _: ask_on_new_connection(two_workers), range(20)))
            asked += 20
    two_workers.wait_until(lambda: two_workers.metrics()[ANSWERED] == asked)  # it is counted just after it is sent
    for _ in range(5):  # whoever is scraped tells of both
        metrics = two_workers.metrics()
        assert metrics[ANSWERED] == asked
        assert metrics['retrieval_stage_seconds_count{stage="total"}'] == asked
        assert sum(value for name, value in metrics.items() if name.startswith("retrieval_user_cache_total")) == asked
    assert active(two_workers) == 2


def test_worker_is_replaced_when_it_is_killed(two_workers):
    asked = two_workers.metrics().get(ANSWERED, 0) + 10
    for _ in range(10):
        ask_on_new_connection(two_workers)
    two_workers.wait_until(lambda: two_workers.metrics()[ANSWERED] == asked)  # it is counted just after it is sent
    before = two_workers.worker_ids()
    os.kill(before[0], signal.SIGKILL)
    assert two_workers.wait_for_event("worker_ended")["worker_id"] == before[0]
    assert active(two_workers) == 1
    two_workers.wait_for_event("bundle_ready", count=3)
    assert active(two_workers) == 2
    assert two_workers.metrics()[ANSWERED] == asked
    assert len(set(two_workers.worker_ids())) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everything_ends_well_when_the_service_is_told_to_stop(tiny_bundle, number):
    with ServiceProcess(tiny_bundle, workers=2) as process:
        process.retrieve(user_id="user-01")
        assert process.stop(number) == 0
        assert not [event for event in process.events if event["event"] == "library"]


def test_workers_end_when_the_supervisor_is_killed(tiny_bundle):
    with ServiceProcess(tiny_bundle, workers=2) as process:
        assert process.stop(signal.SIGKILL) == -signal.SIGKILL  # and waits until the workers are gone too


@pytest.fixture
def small_disk(tmp_path):
    """A temp folder on a file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def serves_and_replaces_its_worker(process, trouble=lambda: None):
    """Whether nothing is missing in answers, metrics and workers, before and after a worker dies."""
    for _ in range(10):
        ask_on_new_connection(process)
    trouble()
    for _ in range(10):
        ask_on_new_connection(process)
    process.http.get("/nowhere")  # a series that was not there before
    os.kill(process.worker_ids()[0], signal.SIGKILL)
    process.wait_for_event("bundle_ready", count=2)
    for _ in range(10):
        ask_on_new_connection(process)
    assert process.metrics()[ANSWERED] == 30
    assert active(process) == 1
    assert process.http.get("/livez").status_code == 200
    assert process.stop() == 0
    return True


def test_nothing_is_missing_when_the_temp_folder_is_removed(tiny_bundle, tmp_path):
    folder = tmp_path / "temp"
    folder.mkdir()
    with ServiceProcess(tiny_bundle, TMPDIR=str(folder)) as process:
        assert serves_and_replaces_its_worker(process, lambda: shutil.rmtree(folder))


def test_nothing_is_missing_when_the_disk_is_full(tiny_bundle, small_disk):
    def fill():
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "filler").write_bytes(bytes(1 << 20))

    with ServiceProcess(tiny_bundle, TMPDIR=str(small_disk)) as process:
        assert serves_and_replaces_its_worker(process, fill)


def test_counters_never_fall_when_workers_die_again_and_again(tiny_bundle):
    """Each takes over where the one before it ended, and the metrics do not grow."""
    with ServiceProcess(tiny_bundle) as process:
        lengths = []
        for life in range(1, 4):
            process.wait_for_event("bundle_ready", count=life)
            ask_on_new_connection(process)
            assert process.metrics()[ANSWERED] == life
            lengths.append(len(process.metrics()))
            os.kill(process.worker_ids()[-1], signal.SIGKILL)
        assert len(set(lengths)) == 1
