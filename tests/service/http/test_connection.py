"""Connections as raw bytes: offers to upgrade are ignored, and clients slow to send or to read are cut off in time."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.service.service_process import ServiceProcess

BODY = b'{"user_id": "user-01", "top_k": 3}'
HEAD = (b"POST /retrieve HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n" % len(BODY))
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"


def connected(process):
    return socket.create_connection((process.http.base_url.host, process.http.base_url.port), timeout=60)


def reply(connection):
    """(status, headers, body) of the next reply."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, f"the connection was closed after {head!r}"
        head += byte
    first, *lines = head.decode().split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in lines)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(first.split()[1]), headers, json.loads(body)


def pieces(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_request_is_answered_when_it_offers_an_upgrade(service, size):
    """Whatever packets it comes in, and so is the next one on the same connection."""
    with connected(service) as connection:
        for piece in pieces(HEAD + OFFER + b"\r\n" + BODY + LIVEZ, size):
            connection.sendall(piece)
        status, _, answer = reply(connection)
        assert (status, len(answer["ads"])) == (200, 3)
        assert reply(connection)[::2] == (200, {"status": "alive"})


def test_body_in_chunks_is_read_when_the_request_offers_an_upgrade(service):
    head = HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    with connected(service) as connection:
        connection.sendall(head + OFFER + b"\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n" + LIVEZ)
        assert len(reply(connection)[2]["ads"]) == 3
        assert reply(connection)[2] == {"status": "alive"}


@pytest.mark.parametrize("offered", ["h2c", "websocket", "TLS/1.0"])
def test_probe_is_answered_when_it_offers_an_upgrade(service, offered):
    with connected(service) as connection:
        for _ in range(2):
            connection.sendall(LIVEZ[:-2] + f"Connection: Upgrade\r\nUpgrade: {offered}\r\n\r\n".encode())
            assert reply(connection)[0] == 200


@pytest.mark.parametrize("request_", [
    b"GET /livez HTTP/1.1\r\nHost: here\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"GET /livez HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    HEAD.replace(b"1.1", b"1.0") + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + BODY,
    HEAD + b"Connection: close, upgrade\r\nUpgrade: h2c\r\n\r\n" + BODY])
def test_last_request_is_answered_when_it_offers_an_upgrade(service, request_):
    """It ends the connection: `Connection: close`, or HTTP/1.0, which nginx speaks unless told otherwise."""
    with connected(service) as connection:
        connection.sendall(request_)
        status, headers, _ = reply(connection)
        assert (status, headers["connection"]) == (200, "close")
        assert connection.recv(1) == b""


def test_many_requests_in_one_piece_are_answered_when_each_offers_an_upgrade(service):
    """More than a recursion would bear."""
    with connected(service) as connection:
        connection.sendall((LIVEZ[:-2] + OFFER + b"\r\n") * 1500)
        for _ in range(1500):
            assert reply(connection)[0] == 200


@pytest.mark.parametrize("target", [b"example.org:443", b"h://a/b", b"*"])
def test_tunnel_is_refused_when_a_client_asks_for_one(service, target):
    """At once: it takes no parsing of what follows, and starts no request."""
    def requests():
        return sum(count for name, count in service.metrics().items()
                   if name.startswith('retrieval_requests_total{endpoint="other"'))

    before = requests()
    with connected(service) as connection:
        connection.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nHost: here\r\n\r\n" + b"x" * 60_000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert requests() == before


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_answered_when_it_offers_http_2(service):
    done = subprocess.run(["curl", "-sS", "--http2", "-H", "Content-Type: application/json", "-d", BODY.decode(),
                           f"{service.http.base_url}/retrieve"], capture_output=True, timeout=60, check=True)
    assert len(json.loads(done.stdout)["ads"]) == 3


@pytest.fixture(scope="module")
def hasty(tiny_bundle):
    with ServiceProcess(tiny_bundle, RETRIEVAL_HEADER_SECONDS="0.5", RETRIEVAL_BODY_SECONDS="0.5",
                        RETRIEVAL_IDLE_SECONDS="1") as process:
        yield process


def closes_after(connection, began, least):
    """Waits until the other end closes, no sooner than so many seconds after it began; drops what it sends before."""
    while connection.recv(65536):
        pass
    assert least <= time.monotonic() - began


def test_headers_are_refused_when_they_do_not_come_in_time(hasty):
    with connected(hasty) as connection:
        began = time.monotonic()
        connection.sendall(HEAD)
        status, headers, error = reply(connection)
        assert 0.4 <= time.monotonic() - began < 20
        assert (status, error["error_type"]) == (408, "request_timeout")
        assert "0.5 s" in error["message"]
        assert "RETRIEVAL_HEADER_SECONDS" in error["help"]
        assert connection.recv(1) == b""
    line = hasty.wait_until(lambda: next((e for e in hasty.events
                                          if e.get("request_id") == headers["x-request-id"]), None))
    assert (line["status"], line["error_type"]) == (408, "request_timeout")
    counted = 'retrieval_requests_total{endpoint="other",error_type="request_timeout",status="408"}'
    assert hasty.metrics()[counted] >= 1


def test_headers_are_refused_when_they_drip(hasty):
    """A byte now and then must not keep a connection open."""
    with connected(hasty) as connection:
        connection.settimeout(0.1)
        for _ in range(300):
            connection.sendall(b"G" if not _ else b"E")
            try:
                answered = connection.recv(65536)
            except TimeoutError:
                continue
            assert answered.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))
            return
    pytest.fail("the connection is still open")


@pytest.mark.parametrize("drip", [False, True])
def test_body_is_refused_when_it_does_not_come_in_time(hasty, drip):
    with connected(hasty) as connection:
        connection.sendall(HEAD + b"\r\n")
        with contextlib.suppress(ConnectionError):  # it is closed after the reply
            for at in range(4 if drip else 1):
                connection.sendall(BODY[at:at + 1])
                time.sleep(0.2)
        status, headers, error = reply(connection)
        assert (status, error["error_type"], headers["connection"]) == (408, "request_timeout", "close")
        assert "RETRIEVAL_BODY_SECONDS" in error["help"]
        assert connection.recv(1) == b""


def test_connection_is_closed_when_nothing_comes(hasty):
    began = time.monotonic()
    with connected(hasty) as connection:
        closes_after(connection, began, 0.9)


def test_connection_is_closed_when_only_blank_lines_come(hasty):
    """They are no request, and stop no timer."""
    with connected(hasty) as connection:
        began = time.monotonic()
        connection.sendall(LIVEZ)
        assert reply(connection)[0] == 200
        time.sleep(0.5)
        connection.sendall(b"\r\n")
        closes_after(connection, began, 0.9)


def test_connection_is_closed_when_the_body_of_an_answered_request_never_comes(hasty):
    with connected(hasty) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nx")
        assert reply(connection)[0] == 200
        connection.sendall(b"y")
        closes_after(connection, time.monotonic(), 0.0)


@pytest.mark.parametrize("pieces_", [[b"hello"], [b"hel", b"lo"], [b"hello", b"\r\n"]])
def test_connection_is_closed_when_the_body_comes_after_the_reply(hasty, pieces_):
    with connected(hasty) as connection:
        connection.sendall(b"POST /nope HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n")
        assert reply(connection)[0] == 404
        began = time.monotonic()
        for piece in pieces_:
            connection.sendall(piece)
            time.sleep(0.02)
        closes_after(connection, began, 0.9)


def test_request_is_answered_when_the_body_of_the_one_before_came_after_its_reply(hasty):
    with connected(hasty) as connection:
        connection.sendall(b"POST /nope HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n")
        assert reply(connection)[0] == 404
        connection.sendall(b"hello" + LIVEZ)
        assert reply(connection)[0] == 200


def established(connection):
    """Whether the service's end of a connection is open."""
    (_, server), (_, client) = connection.getpeername(), connection.getsockname()
    ends = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(state == "01" and local.endswith(f":{server:04X}") and remote.endswith(f":{client:04X}")
               for local, remote, state in ends)


def test_connection_is_closed_when_its_client_reads_nothing(hasty):
    """The replies fill the buffers of both systems, then the service's own. The log takes it for a client that left."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((hasty.http.base_url.host, hasty.http.base_url.port))
        connection.settimeout(20)
        began = time.monotonic()
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\nX-Request-ID: unread\r\n\r\n" * 500)
        hasty.wait_until(lambda: not established(connection))
        assert time.monotonic() - began > 0.9
    unread = {"request_id": "unread", "endpoint": "/openapi.json", "status": 499, "error_type": None}
    hasty.wait_until(lambda: [event for event in hasty.events if unread.items() <= event.items()])
    assert not any("traceback" in event for event in hasty.events)


@pytest.fixture(scope="module")
def at_once(tiny_bundle):
    """A service for requests that come in one piece."""
    with ServiceProcess(tiny_bundle, RETRIEVAL_HEADER_SECONDS="0.001", RETRIEVAL_BODY_SECONDS="0.001") as process:
        yield process


def test_connection_stays_open_when_requests_come_whole(at_once):
    """No limit counts on from one request to the next."""
    with connected(at_once) as connection:
        for _ in range(4):
            connection.sendall(HEAD + b"\r\n" + BODY)
            assert reply(connection)[0] == 200
            time.sleep(0.1)


def test_answer_is_not_cut_off_when_it_takes_longer_than_the_limits(at_once):
    """They limit what the client sends; half of the next request is no reason to drop this one's answer."""
    for _ in range(10):
        with connected(at_once) as connection:
            connection.sendall(HEAD + b"\r\n" + BODY + LIVEZ[:9])
            status, _, answer = reply(connection)
            assert status == 200
            assert answer["latency_ms"]["total"] > 1
            assert reply(connection)[0] == 408
