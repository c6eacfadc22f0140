"""The shard server: it answers whatever comes, and nothing that comes ends it."""

import gc
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from service.shards.address_book import parse_address
from service.shards.connection import ShardConnection, ShardGoneError
from service.shards.frames import Frame, Kind
from service.shards.scoring_frames import query_arrays, scoring_frame
from tests.service.cluster.running_shards import until

ESTABLISHED, KEEPALIVE = "01", "02"
"""The state and the timer of a connection in /proc/net/tcp."""


@pytest.fixture
def server(roots, listening):
    return listening(roots, 0)


@pytest.fixture
def root(roots):
    return Bundle.open(roots / "two")


@pytest.fixture
def connection(server, root):
    opened = ShardConnection(parse_address(server.address), root.bundle_id, 0, 2, 60.0)
    yield opened
    opened.close()


def ask(connection, frame):
    connection.send(frame, time.perf_counter() + 60)
    return connection.receive(time.perf_counter() + 60)


def arrays(root):
    return query_arrays(root.content.query(np.ones((1, 8), np.float32),
                                           root.content.users.features.take(np.array([0])), np.array([1], np.int32)))


def test_a_shard_is_open_as_long_as_somebody_is_connected_for_its_root(server, root, connection):
    assert server.opened.roots == [root.bundle_id]
    connection.close()
    until(lambda: not server.opened.roots)


@pytest.mark.parametrize(("root_id", "positions", "said"), [
    ("c0ffee", [0], "logits of root c0ffee were asked for"), (None, [150], "positions 150 to 150 were asked for, the "
                                                                           "shard has 0 to 149"),
    (None, [-1, 3], "positions -1 to 3 were asked for"),
    (None, [0] * 151, "151 positions were asked for, the shard has 150")])
def test_what_the_shard_does_not_hold_is_refused_and_the_connection_goes_on(root, connection, root_id, positions, said):
    frame = scoring_frame(root_id or root.bundle_id, 1.0, np.array(positions), arrays(root))
    answer = ask(connection, frame)
    assert answer.kind is Kind.REFUSED
    assert said in answer.text
    assert ask(connection, scoring_frame(root.bundle_id, 1.0, np.arange(3), arrays(root))).kind is Kind.LOGITS


def test_a_question_whose_time_is_up_is_not_answered_with_logits(root, connection):
    assert ask(connection, scoring_frame(root.bundle_id, 0.0, np.arange(3), arrays(root))).kind is Kind.LATE


def test_arrays_that_do_not_fit_the_scorer_are_refused(root, connection):
    wrong = arrays(root)
    wrong[0] = np.ones((1, 5), np.float32)
    answer = ask(connection, scoring_frame(root.bundle_id, 1.0, np.arange(3), wrong))
    assert answer.kind is Kind.REFUSED
    assert ask(connection, Frame(Kind.LATE)).text == "LATE is not expected here"


def test_a_root_whose_machine_is_gone_is_found_out_by_keepalive(server, connection):
    port = f":{parse_address(server.address)[1]:04X}"

    def timers():
        rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return [row[5][:2] for row in rows if row[1].endswith(port) and row[3] == ESTABLISHED]

    until(lambda: timers() == [KEEPALIVE])


def test_an_endless_id_of_a_root_is_neither_logged_nor_sent_back(server):
    with pytest.raises(ShardGoneError) as told:
        ShardConnection(parse_address(server.address), "x" * 100_000, 0, 2, 60.0)
    assert len(str(told.value)) < 2000


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff" * 8,
                                  Frame(Kind.OPEN).packed(), Frame(Kind.SCORE).packed(),
                                  *(Frame(Kind.OPEN, (np.zeros(3, np.uint8), number)).packed()
                                    for number in (np.zeros(0, np.int64), np.array(0), np.zeros(2)[:0]))])
def test_what_is_no_frame_ends_its_connection_alone(server, root, connection, sent, caplog):
    with socket.create_connection(parse_address(server.address), 60) as other:
        other.sendall(sent)
        other.shutdown(socket.SHUT_WR)
        while other.recv(4096):
            pass
    gc.collect()
    assert "never retrieved" not in caplog.text
    assert ask(connection, scoring_frame(root.bundle_id, 1.0, np.arange(3), arrays(root))).kind is Kind.LOGITS
