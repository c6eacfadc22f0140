"""The way between supervisor and worker: whole messages out of pieces, and nobody waits for somebody who is stuck."""

import socket
from pathlib import Path

import pytest

from service.bundles.control_channel import (
    Call,
    Drain,
    Failed,
    Inbox,
    Refusal,
    Release,
    Reply,
    Serve,
    Serving,
    SupervisorEnd,
    TrialFailed,
    Try,
    Trying,
    packed,
)
from service.contract.errors import ErrorType


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield SupervisorEnd(ours), theirs


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_messages_come_out_whole_when_the_bytes_come_in_pieces(piece):
    red = Release("red", Path("/bundles/red"), "0123")
    sent = [Drain(), Call(7, "load", "red", requests=[b"x" * 500, b"", b"\xff \x00"]), Reply(7, {"bundle": "red"}),
            Reply(8, Refusal(ErrorType.UNKNOWN_BUNDLE, "none", "another", "a b")), Serve(red), Serving(red),
            Failed(red, "no room"), Try(red, 0.05), Trying(Try(shadow=red)), TrialFailed("shadow", red, "no room"),
            Call(9, "try", "red", requests=[], role="canary", share=0.1)]
    stream, inbox = b"".join(map(packed, sent)), Inbox()
    received = [message for start in range(0, len(stream), piece)
                for message in inbox.take(stream[start:start + piece])]
    assert received == sent


def test_supervisor_does_not_wait_when_half_a_message_has_come(ends):
    end, worker = ends
    content = packed(Drain())
    assert end.receive() == []
    worker.sendall(content[:5])
    assert end.receive() == []
    worker.sendall(content[5:])
    assert end.receive() == [Drain()]


def test_supervisor_does_not_wait_when_the_worker_reads_nothing(ends):
    end, _ = ends
    sent = 0
    while end.send(Reply(sent, {})):
        sent += 1
    assert sent > 100


def test_supervisor_notices_when_the_worker_is_gone(ends):
    end, worker = ends
    worker.close()
    with pytest.raises(EOFError):
        end.receive()
    assert not end.send(Drain())
