"""The open-loop client against small servers of its own."""

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtest.http.client import LOST, drive, post
from loadtest.processes.redis_server import free_port


@contextmanager
def server(*statuses, together=1):
    """Answers with these statuses in turn, the last one from then on; yields its address and the bodies it read.

    No request is answered before as many have come as are answered together.
    """
    bodies, left, come = [], list(statuses), threading.Barrier(together, timeout=60)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            come.wait()
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"body")

        def log_message(self, *_):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield listening.server_address, bodies
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def requests(count, every=0.0):
    return [(n * every, post("/retrieve", b"request %d" % n, "here")) for n in range(count)]


def test_requests_leave_on_schedule_although_earlier_ones_wait_for_their_answer():
    with server(200, together=5) as (address, bodies):
        found = drive([address], requests(5, every=0.02), connections=1)
    assert [exchange.status for exchange in found] == [200] * 5
    assert {exchange.body for exchange in found} == {b"body"}
    assert sorted(bodies) == [b"request %d" % n for n in range(5)]
    scheduled = [exchange.scheduled - found[0].scheduled for exchange in found]
    assert scheduled == pytest.approx([0, 0.02, 0.04, 0.06, 0.08])
    assert all(found[4].sent < exchange.answered for exchange in found)


def test_request_with_a_503_is_tried_again_at_the_next_address():
    done = []
    with server(503) as (draining, refused), server(200) as (ready, bodies):
        found = drive([draining, ready], requests(4), connections=2, tries=2, ended=done.append)
    assert [exchange.status for exchange in found] == [200] * 4
    assert sorted(exchange.failures for exchange in found) == [[], [], [503], [503]]
    assert (len(refused), len(bodies)) == (2, 4)
    assert sorted(map(id, done)) == sorted(map(id, found))


def test_last_status_is_kept_when_all_tries_fail():
    with server(503) as (address, _):
        [exchange] = drive([address], requests(1), connections=1, tries=3)
    assert (exchange.status, exchange.failures) == (503, [503, 503])


def test_request_is_lost_when_the_other_side_does_not_speak_http():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def answer():
            first, _ = listening.accept()[0], listening.accept()[0]  # the client opens one more than it is told
            first.recv(1_000)
            first.sendall(b"SSH-2.0-no-http\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        [exchange] = drive([listening.getsockname()], requests(1), connections=1)
        thread.join()
    assert exchange.status == LOST


def test_error_is_raised_when_nothing_listens():
    with pytest.raises(OSError):
        drive([("127.0.0.1", free_port())], requests(1), connections=1)
