"""One connection to a shard, to a real server and to ones that behave badly."""

import socket
import threading
import time

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from service.shards.address_book import parse_address
from service.shards.connection import ShardConnection, ShardGoneError, shown
from service.shards.frames import Frame, Kind
from service.shards.scoring_frames import query_arrays, scoring_frame
from tests.service.cluster.running_shards import until


@pytest.fixture
def rude():
    """Starts a server that does one thing with its only connection; its address."""
    opened = []

    def of(behave):
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def accept():
            connection, _ = listening.accept()
            opened.append(connection)
            behave(connection)

        threading.Thread(target=accept, daemon=True).start()
        return listening.getsockname()[:2]

    yield of
    for one in opened:
        one.close()


def soon():
    return time.perf_counter() + 60


def test_a_shard_scores_what_the_connection_asks(roots, listening):
    root = Bundle.open(roots / "two")
    server = listening(roots, 1)
    connection = ShardConnection(parse_address(server.address), root.bundle_id, 1, 2, 60.0)
    query = root.content.query(np.ones((1, 8), np.float32), root.content.users.features.take(np.array([3])),
                               np.array([1, 2], np.int32))
    connection.send(scoring_frame(root.bundle_id, 1.0, np.arange(4), query_arrays(query)), soon())
    frame = connection.receive(soon())
    assert (frame.kind, frame.arrays[0].shape) == (Kind.LOGITS, (4, 2))
    assert not connection.broken
    assert not connection.readable
    server.close()
    connection.close()


@pytest.mark.parametrize(("number", "root", "said"), [
    (0, None, "refuses: this is shard 1, shard 0 was asked for"),
    (1, "c0ffee", "refuses: bundle .*shards/1: of root c0ffee is not here, but of [0-9a-f]{16}; copy it there")])
def test_another_shard_or_root_is_told(roots, listening, number, root, said):
    root = root or Bundle.open(roots / "two").bundle_id
    with pytest.raises(ShardGoneError, match=said):
        ShardConnection(parse_address(listening(roots, 1).address), root, number, 2, 60.0)


def test_nobody_at_an_address_is_told():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()[:2]
    with pytest.raises(ShardGoneError, match=f"nobody answers at 127.0.0.1:{address[1]} .*refused"):
        ShardConnection(address, "c0ffee", 0, 1, 1.0)


@pytest.mark.parametrize("host", ["a" * 70, "ä..b"])
def test_what_is_no_name_of_a_host_is_told(host):
    with pytest.raises(ShardGoneError, match=f"nobody answers at {host}:9000 "):
        ShardConnection((host, 9000), "c0ffee", 0, 1, 1.0)


def test_a_server_that_is_silent_is_given_up_in_time(rude):
    with pytest.raises(ShardGoneError, match=r"has not opened root c0ffee within 0\.2 s"):
        ShardConnection(rude(lambda connection: time.sleep(1)), "c0ffee", 0, 1, 0.2)


@pytest.mark.parametrize(("answer", "said"), [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is gone"), (b"\0\0\0\0", "is gone"), (b"", "it closed the connection"),
    (Frame(Kind.REFUSED).packed(), "refuses: $"),
    (Frame(Kind.LATE).packed(), "answers to OPEN with LATE")])
def test_what_does_not_speak_as_a_shard_is_told(rude, answer, said):
    def behave(connection):
        connection.recv(100)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(ShardGoneError, match=said):
        ShardConnection(rude(behave), "c0ffee", 0, 1, 60.0)


def test_late_answers_are_told_apart_from_broken_off_ones(rude):
    def behave(connection):
        connection.recv(100)
        connection.sendall(Frame(Kind.OPENED).packed())
        connection.recv(1)
        connection.sendall(Frame(Kind.LATE).packed()[:3])

    connection = ShardConnection(rude(behave), "c0ffee", 0, 1, 60.0)
    with pytest.raises(TimeoutError):
        connection.receive(time.perf_counter() + 0.05)
    assert not connection.midway
    connection.send(Frame(Kind.OPEN), soon())
    until(lambda: connection.readable)
    with pytest.raises(TimeoutError):
        connection.receive(time.perf_counter() + 0.3)
    assert connection.midway
    with pytest.raises(TimeoutError, match="the time is up"):
        connection.receive(time.perf_counter() - 1)


def test_an_ended_connection_is_broken(rude):
    def behave(connection):
        connection.recv(100)
        connection.sendall(Frame(Kind.OPENED).packed())
        connection.shutdown(socket.SHUT_RDWR)

    connection = ShardConnection(rude(behave), "c0ffee", 0, 1, 60.0)
    until(lambda: connection.broken)
    assert connection.readable
    assert shown(("::1", 80)) == "[::1]:80"
