"""One connection of a root to a shard: frames over TCP, with a time limit on each step."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

import numpy as np

from service.shards.address_book import Address
from service.shards.frames import HEAD, Frame, FrameError, Kind, length_of

_CONNECT_SECONDS = 1.0


class ShardGoneError(Exception):
    """A shard does not answer, or not what was asked; the message says which and why."""


class ShardConnection:
    """A connection on which a shard has opened what belongs to one root. Used by one thread at a time.

    Args:
        address: of the shard.
        root: id of the root.
        number, shards: which shard it has to be, and of how many.
        seconds: that opening may take.

    Attributes:
        midway: whether a part of a frame has been received, and the rest has not.

    Raises:
        ShardGoneError: nobody answers there, or another shard, or it cannot open its part of the root.
    """

    def __init__(self, address: Address, root: str, number: int, shards: int, seconds: float) -> None:
        self.address, self.midway = address, False
        until = time.perf_counter() + seconds
        try:
            self._socket = socket.create_connection(address, min(_CONNECT_SECONDS, seconds))
        except (OSError, ValueError) as error:  # a ValueError if its host cannot be the name of one
            raise ShardGoneError(f"nobody answers at {shown(address)} ({getattr(error, 'strerror', None) or error})"
                                 ) from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked = np.array([number, shards])
            self.send(Frame(Kind.OPEN, (np.frombuffer(root.encode(), np.uint8), asked)), until)
            answer = self.receive(until)
        except TimeoutError as error:
            self.close()
            raise ShardGoneError(f"{shown(address)} has not opened root {root} within {seconds:g} s") from error
        except ShardGoneError:
            self.close()
            raise
        if answer.kind is not Kind.OPENED:
            self.close()
            raise ShardGoneError(f"{shown(address)} refuses: {answer.text}" if answer.kind is Kind.REFUSED else
                                 f"{shown(address)} answers to {Kind.OPEN.name} with {answer.kind.name}")

    def send(self, frame: Frame, until: float) -> None:
        """Sends a frame.

        Args:
            frame: to send.
            until: by when, in seconds of `time.perf_counter()`.

        Raises:
            ShardGoneError: the connection is broken.
            TimeoutError: it was not done in time; the connection is of no more use.
        """
        try:
            self._socket.settimeout(_left(until))
            self._socket.sendall(frame.packed())
        except TimeoutError:
            raise
        except OSError as error:
            raise self._gone(error) from error

    def receive(self, until: float) -> Frame:
        """The next frame; the errors are those of `send`.

        Where time was up before the first byte came, which `midway` tells, the frame may still be received.
        """
        try:
            head = self._exactly(HEAD.size, until)
            body = self._exactly(length_of(head), until)
            self.midway = False
            return Frame.unpacked(body)
        except TimeoutError:
            raise
        except (OSError, FrameError) as error:
            raise self._gone(error) from error

    def _exactly(self, count: int, until: float) -> bytearray:
        body = bytearray(count)
        view = memoryview(body)
        while view:
            self._socket.settimeout(_left(until))
            received = self._socket.recv_into(view)
            if not received:
                raise ConnectionResetError("it closed the connection")
            self.midway, view = True, view[received:]
        return body

    @property
    def readable(self) -> bool:
        """Whether something has come, or the connection has ended."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def broken(self) -> bool:
        """Whether the other end has closed it, or sent what nobody asked for; for a connection not in use."""
        try:
            self._socket.setblocking(False)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def _gone(self, error: Exception) -> ShardGoneError:
        return ShardGoneError(f"{shown(self.address)} is gone ({error})")


def shown(address: Address) -> str:
    """An address for people."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _left(until: float) -> float:
    """Seconds until a time, above 0.

    Raises:
        TimeoutError: it has come.
    """
    left = until - time.perf_counter()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left
