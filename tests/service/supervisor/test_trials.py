"""Canary and shadow with real processes and real requests: sides that stick, what ends a trial, what is refused."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from index_store.bundle import pointer, trials
from index_store.bundle.pointer import Pointer
from index_store.bundle.trials import Trial
from loadtest.processes.service_process import TOKEN
from tests.resealed import reseal
from tests.service.bundle_store import BundleStore
from tests.service.service_process import ServiceProcess
from tests.tiny_bundle import write_tiny_bundle

USERS = [f"someone-{number}" for number in range(400)]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return BundleStore.write(tmp_path_factory.mktemp("trials") / "bundles")


@pytest.fixture(scope="module")
def two_workers(store):
    with ServiceProcess(store.folder, workers=2, RETRIEVAL_SHADOW_SHARE="1", RETRIEVAL_WRITE_TOKEN="w") as process:
        yield process


@pytest.fixture
def running(store, two_workers):
    """A service of two workers on the bundle `red`, with nothing on trial."""
    if store.named().bundle != "red":
        two_workers.load("red")
    for role in two_workers.admin().json()["ended"]:
        call(two_workers, "DELETE", role)
    return two_workers


def call(process, method, path, **body):
    return process.http.request(method, f"/admin/{path}", json=body or None, headers=HEADERS, timeout=150)


def begin(process, role="canary", **body):
    reply = call(process, "POST", role, **({"force": True} if role == "canary" else {}), **body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def side(process, user):
    """The bundle that answers a user, on a connection of its own."""
    reply = process.http.post("/retrieve", json={"user_id": user}, headers={"Connection": "close"})
    assert reply.status_code == 200, reply.text
    return reply.json()["bundle_id"]


def sides(process, users=USERS):
    return {user: side(process, user) for user in users}


def on_canary(found, bundle_id):
    return {user for user, one in found.items() if one == bundle_id}


def listed(process):
    return process.admin().json()


def test_share_of_users_sticks_to_the_canary_in_all_workers_and_replicas_until_it_ends(store, running):
    reply = begin(running, bundle="green", share=0.25)
    assert reply["canary"] == {"bundle": "green", "beside": "red", "share": 0.25, "ready": True}
    assert {worker["canary"] for worker in listed(running)["workers"]} == {"green"}
    first = sides(running)
    assert set(first.values()) == {store.ids["red"], store.ids["green"]}
    share = len(on_canary(first, store.ids["green"])) / len(USERS)
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / len(USERS)) ** 0.5
    assert sides(running, USERS[:100]) == {user: first[user] for user in USERS[:100]}
    with ServiceProcess(store.folder) as other:  # a replica that starts while the canary runs
        other.wait_until(lambda: other.metrics()["retrieval_canary_share"] == 0.25)
        assert sides(other, USERS[:100]) == {user: first[user] for user in USERS[:100]}
        begin(running, bundle="green", share=0.5)
        other.wait_until(lambda: other.metrics()["retrieval_canary_share"] == 0.5)
        wider = sides(other, USERS[:100])
        assert on_canary(first, store.ids["green"]) & set(USERS[:100]) < on_canary(wider, store.ids["green"])
        assert call(running, "DELETE", "canary").json()["canary"] is None
        assert set(sides(running, USERS[:40]).values()) == {store.ids["red"]}
        other.wait_until(lambda: other.metrics()["retrieval_canary_share"] == 0)
        assert set(sides(other, USERS[:40]).values()) == {store.ids["red"]}
    assert listed(running)["ended"]["canary"] == {"bundle": "green", "reason": "an admin call ended it"}


def test_worker_has_the_canary_again_when_it_is_replaced(store, running):
    begin(running, bundle="green", share=0.5)
    first = sides(running, USERS[:60])
    ready = len(running.events_named("bundle_ready"))
    os.kill(running.live_worker_ids()[0], signal.SIGKILL)
    running.wait_for_event("bundle_ready", ready + 1)
    running.wait_until(lambda: [worker["canary"] for worker in listed(running)["workers"]] == ["green"] * 2)
    assert sides(running, USERS[:60]) == first


def test_no_answer_mixes_bundles_and_none_fails_when_trials_come_and_go_under_load(store, running):
    expected = {}
    for name in ("green", "red"):
        running.load(name)
        ads = running.retrieve(user_id="user-01", top_k=20)["ads"]
        expected[store.ids[name]] = [(ad["ad_id"], round(ad["score"], 3)) for ad in ads]
    over, wrong, seen = threading.Event(), [], set()

    def keep_asking(number):
        while not over.is_set():
            # All are answered as user-01 is; who they are decides the side alone.
            features = {"user_id": "user-01"} if number % 2 else {"user_id": f"w{time.monotonic_ns()}"}
            reply = running.http.post("/retrieve", json={**features, "top_k": 20})
            time.sleep(0.002)
            body = reply.json()
            seen.add(body.get("bundle_id"))
            ads = [(ad["ad_id"], round(ad["score"], 3)) for ad in body.get("ads", [])]
            if reply.status_code != 200 or (number % 2 and expected[body["bundle_id"]] != ads):
                wrong.append(body)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking, number) for number in range(4)]
        try:
            for share in (0.3, 0.8):
                begin(running, bundle="green", share=share)
                begin(running, bundle="green", share=1.0)
                call(running, "DELETE", "canary").raise_for_status()
            begin(running, bundle="green", share=0.5)
            running.load("green")
            running.admin("/rollback").raise_for_status()
        finally:
            over.set()
        for one in asking:
            one.result()
    assert not wrong
    assert seen == set(expected)


def test_canary_becomes_current_when_it_is_promoted_and_a_rollback_ends_the_next(store, running):
    begin(running, bundle="green", share=0.5)
    loaded = running.load("green")
    assert loaded["bundle_id"] == store.ids["green"]
    assert set(sides(running, USERS[:40]).values()) == {store.ids["green"]}
    found = running.wait_until(lambda: (now := listed(running))["canary"] is None and now)
    assert found["ended"]["canary"] == {"bundle": "green", "reason": "the pointer says green since then"}
    begin(running, bundle="blue", share=0.5)
    begin(running, "shadow", bundle="red")
    running.admin("/rollback").raise_for_status()
    assert set(sides(running, USERS[:40]).values()) == {store.ids["red"]}
    running.wait_until(lambda: trials.read(store.folder).running == {})
    assert running.metrics()["retrieval_canary_share"] == 0
    assert {worker["shadow"] for worker in listed(running)["workers"]} == {None}


@pytest.mark.parametrize("role", ["canary", "shadow"])
def test_trial_is_refused_when_it_cannot_be(store, running, role):
    share = {"share": 0.5} if role == "canary" else {}
    for name, status, error_type in (("red", 422, "invalid_value"), ("purple", 404, "unknown_bundle"),
                                     ("../green", 422, "invalid_value")):
        reply = call(running, "POST", role, bundle=name, **share)
        assert (reply.status_code, reply.json()["error_type"]) == (status, error_type), reply.text
        assert name in reply.json()["message"]
    reply = call(running, "DELETE", role)
    assert (reply.status_code, reply.json()["error_type"]) == (409, "no_trial")
    begin(running, role, bundle="green", **share)
    reply = call(running, "POST", role, bundle="blue", **share)
    assert (reply.status_code, reply.json()["error_type"]) == (409, "trial_running")
    assert "green" in reply.json()["message"]
    assert "blue" in reply.json()["message"]
    assert listed(running)[role]["bundle"] == "green"


@pytest.mark.parametrize("role", ["canary", "shadow"])
def test_bundle_is_refused_when_it_is_broken_or_wrong(store, running, role):
    share = {"share": 0.5} if role == "canary" else {}
    store.add_broken(f"cut-{role}")
    store.add_wrong(f"wrong-{role}")
    for name, reason in ((f"cut-{role}", "broken"), (f"wrong-{role}", "golden")):
        counted = f'retrieval_trials_dropped_total{{reason="{reason}",role="{role}"}}'
        before = running.metrics()[counted]
        reply = call(running, "POST", role, bundle=name, **share)
        assert (reply.status_code, reply.json()["error_type"]) == (409, "bundle_refused"), reply.text
        assert running.metrics()[counted] == before + 1
    assert listed(running)[role] is None
    assert set(sides(running, USERS[:20]).values()) == {store.ids["red"]}


def test_trial_that_somebody_wrote_is_dropped_for_all_when_its_bundle_is_broken(store, running):
    store.add_broken("torn")
    before = trials.read(store.folder)
    trials.replace(store.folder, before.to("canary", Trial("torn", "red", 0.5)), before)
    found = running.wait_until(lambda: (now := listed(running))["ended"]["canary"] and
                               now["ended"]["canary"]["bundle"] == "torn" and now)
    assert found["canary"] is None
    assert "has checksum" in found["ended"]["canary"]["reason"]
    assert trials.read(store.folder).running == {}
    assert set(sides(running, USERS[:20]).values()) == {store.ids["red"]}
    assert running.events_named("trial_dropped")[-1]["fault"] == "broken"


def test_problem_is_told_when_the_file_cannot_be_read(store, running):
    (store.folder / "trials").write_text("canary: green")
    assert "not readable" in running.wait_until(lambda: listed(running)["trials_problem"])
    reply = call(running, "POST", "canary", bundle="green", share=0.5, force=True)
    assert (reply.status_code, reply.json()["error_type"]) == (503, "pointer_unwritable")
    (store.folder / "trials").unlink()
    running.wait_until(lambda: listed(running)["trials_problem"] is None)
    begin(running, bundle="green", share=0.5)


def test_single_bundle_has_none_beside_it(tiny_bundle):
    with ServiceProcess(tiny_bundle) as process:
        reply = call(process, "POST", "canary", bundle="green", share=0.5)
        assert (reply.status_code, reply.json()["error_type"]) == (409, "no_bundle_store")


@pytest.fixture(scope="module")
def graded(tiny_bundle, tmp_path_factory):
    """A service of bundles that declare or know less than the current one, or the same, or are of another world."""
    folder = tmp_path_factory.mktemp("graded") / "bundles"
    write_tiny_bundle(folder / "now", context=True)
    write_tiny_bundle(folder / "fewer", n_items=250, context=True)
    write_tiny_bundle(folder / "other", seed=1, context=True)
    write_tiny_bundle(folder / "foreign")
    reseal(folder / "now", folder / "equal", lambda writer: writer.json("evaluation.json", {"note": "again"}))
    pointer.replace(folder, Pointer("now"), None)
    with ServiceProcess(folder, RETRIEVAL_SHADOW_SHARE="1", RETRIEVAL_GATE_LATENCY_RISE="20",
                        RETRIEVAL_GATE_SHADOW_COMPARISONS="30") as process:
        for number in range(40):
            process.retrieve(user_id=f"user-{number:02d}")
        yield process


@pytest.mark.parametrize("role", ["canary", "shadow"])
def test_bundle_is_refused_when_it_lacks_fields_that_requests_bring(graded, role):
    body = {"bundle": "foreign", **({"share": 0.5, "force": True} if role == "canary" else {})}
    reply = call(graded, "POST", role, **body)
    assert (reply.status_code, reply.json()["error_type"]) == (409, "bundle_refused")
    assert "context field hour (categorical)" in reply.json()["message"]
    assert "now" in reply.json()["message"]


def test_canary_is_refused_with_a_table_when_it_is_worse(graded):
    reply = call(graded, "POST", "canary", bundle="fewer", share=0.5)
    assert (reply.status_code, reply.json()["error_type"]) == (409, "bundle_refused")
    assert "ads in the index" in reply.json()["message"]
    assert "WORSE" in reply.json()["details"]
    begun = call(graded, "POST", "canary", bundle="equal", share=0.5).json()
    assert "ads in the index" in begun["comparison"]
    call(graded, "DELETE", "canary").raise_for_status()


def compared(process, bundle):
    found = call(process, "GET", "trials").json()
    wanted = next(entry["bundle_id"] for entry in process.admin().json()["bundles"] if entry["bundle"] == bundle)
    return next((entry for entry in found["shadows"] if entry["bundle_id"] == wanted), {"compared": 0}), found


def shadowed(process, bundle, until):
    begin(process, "shadow", bundle=bundle)
    number = 0
    while (found := compared(process, bundle))[0]["compared"] < until:
        process.retrieve(user_id=f"user-{number % 40:02d}", top_k=10)
        number += 1
    call(process, "DELETE", "shadow").raise_for_status()
    return found


def test_gate_hears_the_shadow_once_enough_was_compared(graded):
    same, _ = shadowed(graded, "equal", 30)
    assert same["overlap"] == 1.0
    assert {drift["task"]: drift["mean"] for drift in same["drift"]} == {"click": pytest.approx(0, abs=1e-5),
                                                                         "convert": pytest.approx(0, abs=1e-5)}
    shadowed(graded, "other", 5)
    early = call(graded, "POST", "canary", bundle="other", share=0.5).json()
    assert "shadow" not in early["comparison"]
    call(graded, "DELETE", "canary").raise_for_status()
    differing, found = shadowed(graded, "other", 40)
    assert differing["overlap"] < 0.3
    assert found["only_current"]
    assert found["only_shadow"]
    for asked in (call(graded, "POST", "canary", bundle="other", share=0.5),
                  graded.admin("/load", {"bundle": "other"})):
        refused = asked.json()
        assert refused["error_type"] == "bundle_refused"
    (row,) = [line for line in refused["details"].splitlines() if line.startswith("overlap with what was returned")]
    assert row.endswith("WORSE")
    assert "answers compared with it as a shadow" in refused["details"]
    loaded = graded.load("equal", force=False)
    assert "overlap with what was returned, shadow" in loaded["comparison"]
