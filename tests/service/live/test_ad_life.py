"""Ads that come and go, over real HTTP, in every worker of real replicas."""

import time

import pytest

from tests.service.bundle_store import BundleStore
from tests.service.service_process import ServiceProcess

TOKEN = "a token for writes"
ASKED = {"user_id": "user-01", "top_k": 5}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder of bundles with its change log."""
    return BundleStore.write(tmp_path_factory.mktemp("written") / "bundles")


def replica(store, workers, **settings):
    return ServiceProcess(store.folder, workers=workers, **{
        "RETRIEVAL_WRITE_TOKEN": TOKEN, "RETRIEVAL_QUALITY_SAMPLE_RATE": "0", **settings})


@pytest.fixture(scope="module")
def process(store):
    """A replica of two workers, in which each test finds what the ones before it have changed."""
    with replica(store, 2) as process:
        yield process


def call(process, method, path, body=None, **headers):
    return process.http.request(method, path, json=body, headers={
        "authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): value for name, value in headers.items()}})


def write(process, ad, status, wait="applied"):
    """The version of an ad once every worker has applied its status."""
    path = f"/ads/{ad}?wait={wait}"
    reply = call(process, "DELETE", path) if status == "deleted" else call(process, "PATCH", path, {"status": status})
    assert reply.status_code == 200, reply.text
    assert wait == "durable" or reply.json()["applied"]
    return reply.json()["version"]


def answers(process, times=30):
    """Ads -> score, and `as_of`, of answers on connections of their own: all the same, whichever worker gives them."""
    found = []
    for _ in range(times):
        reply = process.http.post("/retrieve", json=ASKED, headers={"Connection": "close"})
        assert reply.status_code == 200, reply.text
        body = reply.json()
        found.append(({ad["ad_id"]: ad["score"] for ad in body["ads"]}, body["as_of"]))
    assert all(one == found[0] for one in found), "workers answer differently"
    return found[0]


def best_ads(process, number):
    """The ads that a user gets now, best first."""
    return list(answers(process, 1)[0])[:number]


def last(process):
    return call(process, "GET", "/changes").json()["last"]


def test_ad_is_gone_from_all_workers_and_comes_back_with_its_score_when_it_is_paused_and_resumed(process):
    (before, as_of), first = answers(process), last(process)
    best = next(iter(before))
    assert write(process, best, "paused") == first + 1
    without, as_of = answers(process)
    assert (best in without, len(without), as_of) == (False, 5, first + 1)
    assert {ad: score for ad, score in without.items() if ad in before} == {
        ad: score for ad, score in before.items() if ad != best}
    assert write(process, best, "active") == first + 2
    assert answers(process) == (before, first + 2)
    assert write(process, best, "deleted") == first + 3
    assert answers(process) == (without, first + 3)
    found = call(process, "GET", f"/ads/{best}").json()
    assert (found["status"], found["version"]) == ("deleted", first + 3)
    assert [(worker["worker"], worker["applied"]) for worker in found["workers"]] == [(0, True), (1, True)]


def test_metrics_say_what_was_written_and_applied_and_nothing_tells_the_token(process):
    before = process.metrics()
    version = write(process, best_ads(process, 1)[0], "paused")
    metrics = process.metrics()
    assert [metrics[f'retrieval_changes_applied{{worker="{number}"}}'] for number in (0, 1)] == [version, version]
    assert metrics["retrieval_ads_withdrawn"] == before["retrieval_ads_withdrawn"] + 1
    assert metrics['retrieval_writes_total{outcome="written"}'] == (
        before['retrieval_writes_total{outcome="written"}'] + 1)
    assert metrics['retrieval_requests_total{endpoint="/ads/{ad_id}",error_type="",status="200"}'] > 0
    assert TOKEN not in process.log.read_text()


def test_other_replica_follows_the_same_log_without_a_token_for_writes(store, process):
    with replica(store, 1, RETRIEVAL_WRITE_TOKEN="") as other:
        (best,) = best_ads(process, 1)
        assert answers(other, 1) == answers(process, 1)
        for status in ("paused", "active", "deleted"):
            version = write(process, best, status)
            deadline = time.monotonic() + 30
            while (found := answers(other, 1))[1] < version:
                assert time.monotonic() < deadline
            assert (best in found[0]) == (status == "active")
        assert call(other, "DELETE", f"/ads/{best}").json()["error_type"] == "writes_disabled"


def test_nothing_is_written_when_one_line_of_a_batch_is_bad(process):
    def batch(*lines):
        return process.http.post("/ads:batch?wait=applied", content="\n".join(lines), headers={
            "authorization": f"Bearer {TOKEN}", "content-type": "application/x-ndjson"})

    first = last(process)
    good = ['{"op": "patch", "ad_id": "ad-0001", "status": "paused"}', '{"op": "delete", "ad_id": "ad-0002"}']
    for bad, error_type in [("{", "invalid_line"), ('{"op": "delete", "ad_id": "none"}', "ad_not_found"),
                            ('{"op": "delete", "ad_id": "ad-0003", "if_version": 9}', "version_conflict")]:
        reply = batch(*good, bad)
        assert reply.json()["error_type"] == error_type
        assert reply.json()["message"].startswith("line 3")
    assert last(process) == first
    assert batch(*good).json() == {"versions": [first + 1, first + 2], "applied": True}
    assert answers(process, 10)[1] == first + 2


def test_retrieve_goes_on_from_the_last_snapshot_when_the_log_is_gone_and_follows_it_when_it_is_back(store, process):
    log = store.folder / "changes.sqlite3"
    (best,) = best_ads(process, 1)
    write(process, best, "paused")
    without = answers(process)
    moved = log.rename(store.folder / "moved")
    process.wait_until(lambda: process.metrics()["retrieval_changes_unreadable"] == 2)
    assert answers(process) == without
    assert call(process, "DELETE", f"/ads/{best}").json()["error_type"] == "change_log_unavailable"
    assert process.admin("/load", {"bundle": "green", "force": True}).status_code == 503
    assert answers(process) == without  # a bundle that cannot learn what is withdrawn does not serve
    process.admin("/rollback")
    assert len(process.events_named("changes_unreadable")) == 2  # each worker once
    moved.rename(log)
    process.wait_until(lambda: process.metrics()["retrieval_changes_unreadable"] == 0)
    write(process, best, "active")
    assert best in answers(process)[0]


def test_withdrawals_hold_when_bundles_are_swapped_and_workers_and_service_restart(store, process):
    best, second = best_ads(process, 2)
    write(process, best, "paused")
    version = write(process, second, "deleted")
    without = answers(process)
    process.load("green")
    found, as_of = answers(process, 10)
    assert (not {best, second} & set(found), as_of) == (True, version)
    process.admin("/rollback")
    assert answers(process, 10) == without
    process.kill_worker(process.worker_ids()[0])
    process.wait_for_event("bundle_ready", process.workers + 1)
    process.wait_until(lambda: [process.metrics()[f'retrieval_changes_applied{{worker="{number}"}}']
                                for number in (0, 1)] == [version, version])
    assert answers(process) == without
    assert process.stop() == 0
    with replica(store, 1) as again:
        assert answers(again, 1) == without
        assert write(again, best, "active") == version + 1
        assert best in answers(again, 1)[0]
