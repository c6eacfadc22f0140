"""Several workers: their metrics add up, a dead one is replaced, and nobody stays behind."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.service_process import ServiceProcess

ANSWERED = 'retrieval_requests_total{endpoint="/retrieve",error_type="",status="200"}'


def active(process):
    (count,) = [value for name, value in process.metrics().items() if name.startswith("retrieval_bundle_active{")]
    return count


@pytest.fixture
def two_workers(tiny_bundle):
    with ServiceProcess(tiny_bundle, workers=2) as process:
        yield process


def ask_on_new_connection(process):
    process.http.post("/retrieve", json={"user_id": "user-01"}, headers={"Connection": "close"}).raise_for_status()


def workers_that_answered(process):
    return {event["process_id"] for event in process.events if event.get("endpoint") == "/retrieve"}


def test_metrics_add_up_when_both_workers_have_answered(two_workers):
    asked = 0
    with ThreadPoolExecutor(8) as pool:
        while len(workers_that_answered(two_workers)) < 2:
            list(pool.map(lambda _: ask_on_new_connection(two_workers), range(20)))
            asked += 20
    for _ in range(5):  # whoever is scraped tells of both
        metrics = two_workers.metrics()
        assert metrics[ANSWERED] == asked
        assert metrics['retrieval_stage_seconds_count{stage="total"}'] == asked
        assert sum(value for name, value in metrics.items() if name.startswith("retrieval_user_cache_total")) == asked
    assert active(two_workers) == 2


def test_worker_is_replaced_when_it_is_killed(two_workers):
    for _ in range(10):
        ask_on_new_connection(two_workers)
    before = two_workers.worker_ids()
    os.kill(before[0], signal.SIGKILL)
    assert two_workers.wait_for_event("worker_ended")["worker_id"] == before[0]
    assert active(two_workers) == 1
    two_workers.wait_for_event("bundle_ready", count=3)
    assert active(two_workers) == 2
    assert two_workers.metrics()[ANSWERED] == 10
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
