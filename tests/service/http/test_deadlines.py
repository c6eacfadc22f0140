"""Deadlines and overload over real HTTP, on a bundle whose exact searches take milliseconds."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from index_store.bundle.files import BundleFiles
from service.contract.schemas import RetrieveReply
from tests.resealed import reseal
from tests.service.contract.test_bad_input import refused
from tests.service.service_process import ServiceProcess
from tests.tiny_bundle import write_tiny_bundle

SLOW = {"user_id": "user-01", "exact": True}


@pytest.fixture(scope="module")
def large_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "large"
    write_tiny_bundle(folder, n_items=6000)
    return folder


@pytest.fixture(scope="module")
def narrow_queue(large_bundle):
    """A service in which two requests may wait."""
    with ServiceProcess(large_bundle, RETRIEVAL_MAX_QUEUE="2", RETRIEVAL_MIN_TIMEOUT_MS="0.001") as process:
        yield process


def at_once(process, count, **fields):
    """Responses to `count` requests that are sent together."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: process.http.post("/retrieve", json=SLOW | fields), range(count)))


def refused_by_admission(process, reason):
    return process.metrics()[f'retrieval_admission_refused_total{{reason="{reason}"}}']


def test_search_narrows_and_says_so_when_time_is_short(narrow_queue):
    replies, answered = [], []
    while len(replies) < 20 or (not answered and len(replies) < 2_000):  # on a busy machine most are refused
        replies.append(narrow_queue.http.post("/retrieve", json=SLOW | {"timeout_ms": 1.0}))
        answered += [reply.json() for reply in replies[-1:] if reply.status_code == 200]
    assert answered
    for reply in answered:
        RetrieveReply.model_validate(reply)
        assert reply["coverage"] < 1
        assert reply["degraded"] == ["deadline"]
        assert 0 < reply["pairs_scored"] < 6000
    for reply in replies:
        if reply.status_code != 200:
            refused(reply, "deadline_unreachable")
    assert narrow_queue.metrics()['retrieval_degraded_total{reason="deadline"}'] >= len(answered)


def test_search_is_whole_when_there_is_time(narrow_queue):
    reply = narrow_queue.retrieve(**SLOW, timeout_ms=60_000)
    assert (reply["coverage"], reply["degraded"], reply["pairs_scored"]) == (1.0, [], 6000)


def test_more_than_may_wait_are_refused_when_many_come_at_once(narrow_queue):
    before = refused_by_admission(narrow_queue, "overloaded")
    responses = at_once(narrow_queue, 40)
    full = [response for response in responses if response.status_code == 429]
    assert full
    for response in full:
        assert int(response.headers["retry-after"]) >= 1
        refused(response, "overloaded")
    assert {response.status_code for response in responses} == {200, 429}
    assert refused_by_admission(narrow_queue, "overloaded") == before + len(full)
    assert narrow_queue.metrics()["retrieval_queue_length"] == 0




def test_work_is_dropped_when_its_client_has_left(large_bundle):
    with ServiceProcess(large_bundle) as process:
        body = json.dumps(SLOW).encode()
        head = b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        clients = [socket.create_connection((process.http.base_url.host, process.http.base_url.port))
                   for _ in range(30)]
        for client in clients:
            client.sendall(head % len(body) + body)
        for client in clients:
            client.close()
        process.wait_until(lambda: sum(e.get("endpoint") == "/retrieve" for e in process.events) == 30)
        dropped = refused_by_admission(process, "client_gone")
        assert dropped > 0
        assert sum(event.get("status") == 499 for event in process.events) == dropped


@pytest.fixture(scope="module")
def measured(tiny_bundle, tmp_path_factory):
    """A service whose bundle has a curve."""
    curve = [{"beam_width": [1, 2], "overlap": 0.4, "pairs": 30}, {"beam_width": [2, 4], "overlap": 0.8, "pairs": 60},
             {"beam_width": [3, 6], "overlap": 0.9, "pairs": 120}]
    folder = tmp_path_factory.mktemp("bundles") / "measured"
    reseal(tiny_bundle, folder, lambda writer: writer.json("evaluation.json", {"beam_curve": curve}))
    assert BundleFiles(folder, verify=True).manifest.search.beam_width == (3, 6)
    with ServiceProcess(folder) as process:
        yield process


@pytest.mark.parametrize(("asked", "widths", "overlap"), [
    ({"target_overlap": 0.4}, (1, 2), 0.4), ({"target_overlap": 0.1}, (1, 2), 0.4),
    ({"target_overlap": 0.6}, (2, 3), 0.6), ({"target_overlap": 0.8}, (2, 4), 0.8),
    ({"target_overlap": 1.0}, (3, 6), 0.9), ({"budget_ms": 60_000}, (3, 6), 0.9),
    ({"budget_ms": 1e-6}, (1, 2), 0.4), ({"beam_width": [2, 4]}, (2, 4), None), ({}, (3, 6), 0.9),
    ({"exact": True}, None, 1.0)])
def test_beam_comes_from_the_curve_when_an_outcome_is_asked_for(measured, asked, widths, overlap):
    reply = measured.retrieve(user_id="user-04", top_k=1, **asked)
    assert reply["estimated_overlap"] == overlap
    if widths is not None:
        by_hand = measured.retrieve(user_id="user-04", top_k=1, beam_width=list(widths))
        counts = [[level["candidates"] for level in r["latency_ms"]["levels"]] for r in (reply, by_hand)]
        assert counts[0] == counts[1]


def test_nothing_is_estimated_under_targeting_which_the_curve_was_not_measured_for(measured):
    some = {"field": "category", "in": ["c1", "c2"]}
    assert measured.retrieve(user_id="user-04", target_overlap=0.8, targeting=some)["estimated_overlap"] is None
    assert measured.retrieve(user_id="user-04", exact=True, targeting=some)["estimated_overlap"] == 1.0
    assert measured.retrieve(user_id="user-04", target_overlap=0.8,
                             exclude_ad_ids=["ad-0001"])["estimated_overlap"] == 0.8


def test_beam_is_the_default_without_an_estimate_when_the_bundle_has_no_curve(narrow_queue):
    reply = narrow_queue.retrieve(user_id="user-04", target_overlap=0.9)
    assert reply["estimated_overlap"] is None
    assert reply["coverage"] == 1.0
