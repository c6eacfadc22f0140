"""Loading, rolling back, following the pointer and refusing, with real processes and real requests meanwhile."""

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from index_store.bundle import pointer
from index_store.bundle.manifest import FORMAT_VERSION
from index_store.bundle.pointer import Pointer
from tests.resealed import reseal
from tests.service.bundle_store import BundleStore
from tests.service.service_process import ServiceProcess
from tests.tiny_bundle import write_tiny_bundle

MISMATCH = "retrieval_bundle_pointer_mismatch"


@pytest.fixture(scope="module")
def written_once(tmp_path_factory):
    return BundleStore.write(tmp_path_factory.mktemp("written") / "bundles")


@pytest.fixture
def store(written_once, tmp_path):
    """A folder of bundles of one test, which may break it."""
    return written_once.copy(tmp_path / "bundles")


@pytest.fixture(scope="module")
def refusing(written_once):
    """A service for tests that leave it as it is: on the bundle `red`."""
    with ServiceProcess(written_once.folder) as process:
        yield process


@pytest.fixture(scope="module")
def own_store(written_once, tmp_path_factory):
    """The folder of bundles that `running` serves."""
    return written_once.copy(tmp_path_factory.mktemp("served") / "bundles")


@pytest.fixture(scope="module")
def running(own_store):
    with ServiceProcess(own_store.folder, workers=2) as process:
        yield process


@pytest.fixture
def two_workers(own_store, running):
    """A service of two workers that many tests swap, on the bundle `red` at the start of each."""
    if own_store.named().bundle != "red":
        running.load("red")
    return running


@pytest.fixture
def other_replica(own_store, two_workers):
    """Another service of the same bundles, beside that of two workers."""
    with ServiceProcess(own_store.folder) as process:
        yield process


def ask(process):
    """The id of the bundle that answers a request on a connection of its own."""
    reply = process.http.post("/retrieve", json={"user_id": "user-01"}, headers={"Connection": "close"})
    assert reply.status_code == 200, reply.text
    return reply.json()["bundle_id"]


def active(process):
    """bundle_id -> workers that serve it, by the metric."""
    return {name.split('"')[1]: value for name, value in process.metrics().items()
            if name.startswith("retrieval_bundle_active{") and value}


def refused(process, fault):
    return process.metrics()[f'retrieval_bundle_refused_total{{reason="{fault}"}}']


def test_all_workers_serve_a_bundle_when_it_was_loaded(own_store, two_workers):
    store, swaps = own_store, two_workers.metrics()["retrieval_bundle_swaps_total"]
    loaded = two_workers.load("green")
    assert (loaded["bundle"], loaded["bundle_id"], loaded["previous"]) == ("green", store.ids["green"], "red")
    assert len({worker["worker_id"] for worker in loaded["workers"]}) == 2
    assert {worker["bundle_id"] for worker in loaded["workers"]} == {store.ids["green"]}
    assert store.named() == Pointer("green", "red")
    assert {ask(two_workers) for _ in range(20)} == {store.ids["green"]}
    assert active(two_workers) == {store.ids["green"]: 2}
    assert two_workers.metrics()["retrieval_bundle_swaps_total"] == swaps + 2
    assert two_workers.metrics()[MISMATCH] == 0
    assert two_workers.http.get("/readyz").json()["bundle_id"] == store.ids["green"]
    assert two_workers.http.get("/info").json()["bundle"]["counts"]["items"] == 280


def test_rollback_goes_back_and_forth_when_asked(own_store, two_workers):
    store = own_store
    two_workers.load("green")
    for name, other in (("red", "green"), ("green", "red"), ("red", "green")):
        reply = two_workers.admin("/rollback").json()
        assert (reply["bundle"], reply["previous"]) == (name, other)
        assert store.named() == Pointer(name, other)
        assert {ask(two_workers) for _ in range(10)} == {store.ids[name]}
    assert active(two_workers) == {store.ids["red"]: 2}


def test_rollback_is_refused_when_there_was_no_bundle_before(refusing):
    reply = refusing.admin("/rollback")
    assert (reply.status_code, reply.json()["error_type"]) == (409, "no_previous_bundle")


def test_rollback_works_when_the_replica_has_never_served_that_bundle(store):
    store.point_to("green")
    with ServiceProcess(store.folder) as process:
        assert process.admin("/rollback").json()["bundle_id"] == store.ids["red"]
        assert ask(process) == store.ids["red"]


def test_bundles_are_listed_when_asked_for(own_store, two_workers):
    own_store.add_broken("cut", "manifest.json", "truncated")
    two_workers.load("blue")
    listed = two_workers.admin().json()
    shutil.rmtree(own_store.folder / "cut")
    assert (listed["current"], listed["previous"], listed["problem"], listed["loading"]) == ("blue", "red", None, None)
    assert {entry["bundle"]: entry["bundle_id"] for entry in listed["bundles"]} == {**own_store.ids, "cut": None}
    assert "not readable" in next(entry["problem"] for entry in listed["bundles"] if entry["bundle"] == "cut")
    assert {worker["worker_id"] for worker in listed["workers"]} == set(two_workers.live_worker_ids())


@pytest.mark.parametrize(("file", "how", "said"), [
    ("user_tower.onnx", "missing", "is missing"), ("postings/weights.npy", "one bit flipped", "has checksum"),
    ("manifest.json", "newer", f"format version {FORMAT_VERSION + 1}"),
    ("tree/rows.npy", "truncated", "the manifest says")])
def test_load_is_refused_when_a_file_is_bad(written_once, refusing, file, how, said):
    name, before = f"bad-{how.replace(' ', '-')}", refused(refusing, "broken")
    written_once.add_broken(name, file, how)
    reply = refusing.admin("/load", {"bundle": name})
    shutil.rmtree(written_once.folder / name)
    assert (reply.status_code, reply.json()["error_type"]) == (409, "bundle_refused")
    assert file in reply.json()["message"]
    assert said in reply.json()["message"]
    assert "red" in reply.json()["help"]
    assert written_once.named() == Pointer("red")
    assert ask(refusing) == written_once.ids["red"]
    assert refused(refusing, "broken") == before + 1
    assert refusing.metrics()[MISMATCH] == 0


def test_load_is_refused_when_golden_answers_differ(written_once, refusing):
    written_once.add_wrong("wrong")
    reply = refusing.admin("/load", {"bundle": "wrong"})
    shutil.rmtree(written_once.folder / "wrong")
    assert (reply.status_code, reply.json()["error_type"]) == (409, "bundle_refused")
    assert "golden request 1" in reply.json()["message"]
    assert written_once.named() == Pointer("red")
    assert refused(refusing, "golden") == 1


@pytest.mark.parametrize(("body", "status", "error_type"), [
    ({"bundle": "purple"}, 404, "unknown_bundle"), ({"bundle": "../red"}, 422, "invalid_value"),
    ({"bundle": ""}, 422, "invalid_value"), ({"bundle": 7}, 422, "wrong_type"), ({}, 422, "missing_field"),
    ({"bundle": "green", "now": True}, 422, "unknown_field"), ([], 422, "wrong_type"),
    ({"bundle": "green", "force": "yes"}, 422, "wrong_type")])
def test_load_is_refused_when_the_body_is_unfit(refusing, body, status, error_type):
    reply = refusing.admin("/load", body)
    assert (reply.status_code, reply.json()["error_type"]) == (status, error_type), reply.text


def test_two_replicas_follow_when_the_pointer_was_written_by_hand(own_store, two_workers, other_replica):
    store, one, two = own_store, two_workers, other_replica
    store.point_to("blue")
    for process, workers in ((one, 2), (two, 1)):
        process.wait_until(lambda process=process, workers=workers: active(process) == {store.ids["blue"]: workers})
    one.load("green")
    two.wait_until(lambda: active(two) == {store.ids["green"]: 1})
    two.admin("/rollback")
    one.wait_until(lambda: active(one) == {store.ids["blue"]: 2})
    for process in (one, two):
        process.wait_until(lambda process=process: process.metrics()[MISMATCH] == 0)
        assert ask(process) == store.ids["blue"]


def test_rollback_leads_out_when_the_pointer_names_a_broken_bundle(own_store, two_workers):
    own_store.add_broken("bad")
    own_store.point_to("bad")
    two_workers.wait_for_event("bundle_refused")
    assert two_workers.admin("/rollback").json()["bundle_id"] == own_store.ids["red"]
    assert own_store.named() == Pointer("red", "bad")
    assert two_workers.metrics()[MISMATCH] == 0
    shutil.rmtree(own_store.folder / "bad")


def test_replica_starts_with_the_bundle_before_when_the_current_one_is_broken(store):
    store.add_broken("bad")
    store.point_to("bad")
    with ServiceProcess(store.folder) as process:
        assert ask(process) == store.ids["red"]
        process.wait_until(lambda: process.metrics()[MISMATCH] == 1)
        assert "has checksum" in process.wait_until(lambda: process.admin().json()["problem"])


def test_service_becomes_ready_when_it_started_wrong_and_a_good_bundle_is_loaded(store):
    store.add_wrong("wrong")
    store.point_to("wrong")
    with ServiceProcess(store.folder, ready=False) as process:
        process.wait_for_event("bundle_refused")
        assert process.http.get("/startupz").status_code == 503
        process.load("blue")
        assert ask(process) == store.ids["blue"]
        assert {process.http.get(path).status_code for path in ("/startupz", "/readyz")} == {200}


def test_worker_comes_back_on_the_new_bundle_when_it_is_killed_after_a_swap(own_store, two_workers):
    store = own_store
    two_workers.load("green")
    ready = len(two_workers.events_named("bundle_ready"))
    os.kill(two_workers.live_worker_ids()[0], signal.SIGKILL)
    two_workers.wait_for_event("bundle_ready", ready + 1)
    two_workers.wait_until(lambda: active(two_workers) == {store.ids["green"]: 2})
    assert {ask(two_workers) for _ in range(20)} == {store.ids["green"]}
    two_workers.admin("/rollback")
    assert active(two_workers) == {store.ids["red"]: 2}


def test_load_names_the_worker_that_lags_when_time_is_up(store):
    with ServiceProcess(store.folder, workers=2, RETRIEVAL_LOAD_SECONDS="8") as process:
        stopped = process.worker_ids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            process.wait_until(lambda: reaches_a_worker(process))  # whose connection the client then keeps
            reply = process.admin("/load", {"bundle": "green", "force": True})
            assert (reply.status_code, reply.json()["error_type"]) == (503, "load_incomplete")
            assert f"worker {stopped}: has not reported yet" in reply.json()["message"]
            assert store.named().bundle == "green"
        finally:
            os.kill(stopped, signal.SIGCONT)
        process.wait_until(lambda: active(process) == {store.ids["green"]: 2})


def reaches_a_worker(process):
    try:
        return process.http.get("/livez", timeout=1).status_code == 200
    except httpx.TimeoutException:
        return False


def test_load_is_refused_with_a_table_when_the_bundle_is_worse(tiny_bundle, tmp_path):
    for name, n_items in (("now", 300), ("fewer", 250)):
        write_tiny_bundle(tmp_path / "bundles" / name, n_items=n_items)
    reseal(tiny_bundle, tmp_path / "bundles" / "equal", lambda writer: writer.json("evaluation.json", {"note": "new"}))
    pointer.replace(tmp_path / "bundles", Pointer("now"), None)
    with ServiceProcess(tmp_path / "bundles", RETRIEVAL_GATE_LATENCY_RISE="5") as process:
        for number in range(40):
            process.retrieve(user_id=f"user-{number:02d}")
        reply = process.admin("/load", {"bundle": "fewer"}).json()
        assert reply["error_type"] == "bundle_refused"
        assert "ads in the index" in reply["message"]
        assert "force" in reply["help"]
        (row,) = [line for line in reply["details"].splitlines() if line.startswith("ads in the index")]
        assert row.split()[4:6] == ["300", "250"]
        assert row.endswith("WORSE")
        assert "40 recorded requests" in reply["details"]
        assert "user-" not in "".join(process.lines)
        assert refused(process, "worse") == 1
        assert pointer.read(tmp_path / "bundles") == Pointer("now")
        loaded = process.load("equal", force=False)
        assert "WORSE" not in loaded["comparison"]
        assert process.load("fewer")["comparison"] is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_load_says_so_when_the_pointer_cannot_be_written(own_store, two_workers):
    store = own_store
    store.folder.chmod(0o555)
    try:
        reply = two_workers.admin("/load", {"bundle": "green"})
    finally:
        store.folder.chmod(0o755)
    assert (reply.status_code, reply.json()["error_type"]) == (503, "pointer_unwritable")
    assert ask(two_workers) == store.ids["red"]


def test_no_reply_mixes_bundles_and_none_fails_when_bundles_are_swapped_under_load(own_store, two_workers):
    store, expected = own_store, {}
    for name in ("red", "green"):
        two_workers.load(name)
        reply = two_workers.retrieve(user_id="user-01", top_k=20)
        expected[store.ids[name]] = [(ad["ad_id"], round(ad["score"], 3)) for ad in reply["ads"]]
    assert len({str(ads) for ads in expected.values()}) == 2
    over, wrong, seen = threading.Event(), [], set()

    def keep_asking(_):
        while not over.is_set():
            response = two_workers.http.post("/retrieve", json={"user_id": "user-01", "top_k": 20})
            time.sleep(0.002)  # leaves the processors time for the check of the next bundle
            body = response.json()
            seen.add(body.get("bundle_id"))
            found = [(ad["ad_id"], round(ad["score"], 3)) for ad in body.get("ads", [])]
            if response.status_code != 200 or expected[body["bundle_id"]] != found:
                wrong.append(body)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking, number) for number in range(4)]
        try:
            for _ in range(6):
                two_workers.admin("/rollback").raise_for_status()
            two_workers.load("red")
        finally:
            over.set()
        for one in asking:
            one.result()
    assert not wrong
    assert seen == set(expected)
    assert sum(active(two_workers).values()) == 2


def test_other_replica_follows_when_a_bundle_was_exported_again_under_its_name(written_once, own_store, two_workers,
                                                                                other_replica):
    for name in ("blue", "red"):  # and back to what it was
        shutil.rmtree(own_store.folder / "red")
        shutil.copytree(written_once.folder / name, own_store.folder / "red")
        assert two_workers.load("red")["bundle_id"] == own_store.ids[name]
        other_replica.wait_until(lambda name=name: active(other_replica) == {own_store.ids[name]: 1})
