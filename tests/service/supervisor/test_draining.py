"""The end of a service under traffic: what is in flight is answered, what is new is refused, and the probes say so."""

import json
import signal
import socket
import time
from http.client import HTTPConnection

import pytest

from tests.service.service_process import ServiceProcess
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture
def draining(tiny_bundle):
    """A service that was told to end, and will once it is told again."""
    with ServiceProcess(tiny_bundle, RETRIEVAL_DRAIN_SECONDS="300") as process:
        process.process.send_signal(signal.SIGTERM)
        process.wait_until(lambda: process.http.get("/readyz").status_code == 503)
        yield process


def test_new_requests_are_refused_when_the_service_drains(draining):
    for reply in (draining.http.post("/retrieve", json={"user_id": "user-01"}), draining.http.get("/readyz"),
                  draining.http.post("/explain", json={"user_id": "user-01", "ad_id": "ad-0001"}),
                  draining.admin(), draining.admin("/rollback")):
        assert (reply.status_code, reply.json()["error_type"]) == (503, "draining"), reply.text
        assert reply.headers["retry-after"] == "1"
        assert reply.headers["connection"] == "close"
    for path in ("/livez", "/startupz", "/metrics", "/info"):
        assert draining.http.get(path).status_code == 200, path
    assert draining.stop() == 0


def test_probes_agree_when_the_service_is_up(service):
    for path in ("/livez", "/startupz", "/readyz"):
        assert service.http.get(path).status_code == 200


def test_requests_in_flight_are_answered_when_the_service_is_told_to_end(tmp_path):
    write_tiny_bundle(tmp_path / "large", n_items=9_000)
    with ServiceProcess(tmp_path / "large", RETRIEVAL_DRAIN_SECONDS="3") as process:
        address = process.http.base_url
        connections = [HTTPConnection(address.host, address.port, timeout=60) for _ in range(60)]
        for connection in connections:
            connection.connect()  # so that the requests come all at once: one search thread, and most of them wait
        body = json.dumps({"user_id": "user-01", "exact": True, "top_k": 5})
        in_flight = process.wait_until(lambda: (n := in_flight_of(process, connections, body)) >= 5 and n)
        process.process.send_signal(signal.SIGTERM)
        replies = [connection.getresponse().status for connection in connections]
        assert replies.count(200) >= in_flight
        assert set(replies) <= {200, 503}
        assert process.process.wait(60) == 0  # by itself


def in_flight_of(process, connections, body):
    """Sends a request on each connection; how many are in flight, with all of them answered if these are few."""
    for connection in connections:
        connection.request("POST", "/retrieve", body, {"Content-Type": "application/json"})
    in_flight = process.metrics()["retrieval_in_flight"]
    if in_flight < 5:  # a busy machine has answered most of them by now
        for connection in connections:
            connection.getresponse().read()
    return in_flight


def test_request_whose_body_is_still_coming_is_refused_in_order_when_the_service_drains(draining):
    """Whoever has begun to send gets an answer and not a reset."""
    body = b'{"user_id": "user-01"}'
    with socket.create_connection((draining.http.base_url.host, draining.http.base_url.port), timeout=60) as connection:
        connection.sendall(b"POST /retrieve HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.3)
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"draining"' in answer


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_drain_is_skipped_when_a_stop_signal_asks_for_it(tiny_bundle, signals):
    with ServiceProcess(tiny_bundle, RETRIEVAL_DRAIN_SECONDS="300") as process:
        for number in signals:
            process.process.send_signal(number)
            if number == signals[0] == signal.SIGTERM:
                process.wait_for_event("draining")
        assert process.process.wait(60) == 0
