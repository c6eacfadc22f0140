"""Open-loop HTTP: requests leave when a schedule says so, on kept connections, whatever has become of earlier ones.

Knows nothing of ads: it moves bytes and notes times.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import httptools
import numpy as np
from numpy.typing import NDArray

_MOST_CONNECTIONS = 512  # half of what the selector can watch
_GRACE_SECONDS = 10.0


@dataclass
class Exchange:
    """One request and what came of it. Times are of `time.perf_counter`; status 0 means no whole answer came."""

    scheduled: float
    sent: float = 0.0
    answered: float = 0.0
    status: int = 0
    body: bytes = b""


def drive(address: tuple[str, int], requests: Sequence[bytes], offsets: NDArray[np.float64],
          connections: int) -> list[Exchange]:
    """Sends each request at its time and collects the answers.

    Args:
        address: host and port.
        requests: whole HTTP/1.1 requests.
        offsets: (N,) float64 seconds after the start at which each leaves, rising.
        connections: how many are opened beforehand; more follow when all of them wait for an answer.

    Returns:
        One Exchange a request. Answers that take longer than ten seconds after the last request are not waited for.

    Raises:
        OSError: nothing listens there.
    """
    # epoll counts in whole milliseconds and would send late by up to one; select counts in microseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(_Drive(address, connections).run(requests, offsets))


class _Drive:
    def __init__(self, address: tuple[str, int], connections: int) -> None:
        self._address, self._connections = address, min(connections, _MOST_CONNECTIONS)
        self._free: deque[_Connection] = deque()
        self._waiting: deque[tuple[bytes, Exchange]] = deque()
        self._open = self._pending = 0
        self._failed: OSError | None = None
        self._idle = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, requests: Sequence[bytes], offsets: NDArray[np.float64]) -> list[Exchange]:
        for _ in range(self._connections):
            self._open += 1
            await self._connect()
        if self._failed is not None:
            raise self._failed
        begin = time.perf_counter() + 0.05
        exchanges = [Exchange(begin + offset) for offset in offsets.tolist()]
        self._pending = len(exchanges)
        for request, exchange in zip(requests, exchanges, strict=True):
            delay = exchange.scheduled - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            self._send(request, exchange)
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                while self._pending:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass
        opening = list(self._opening)
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        return exchanges

    def _send(self, request: bytes, exchange: Exchange) -> None:
        while self._free:
            connection = self._free.popleft()  # the one that has rested longest, so that all workers get their share
            if not connection.closed:
                connection.send(request, exchange)
                return
        self._waiting.append((request, exchange))
        self._open_another()

    def _open_another(self) -> None:
        if self._open < _MOST_CONNECTIONS:
            self._open += 1
            task = asyncio.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        """Opens one of the connections that `_open` counts already."""
        try:
            _, connection = await asyncio.get_running_loop().create_connection(lambda: _Connection(self),
                                                                               *self._address)
        except OSError as error:
            self._open -= 1
            self._failed = error
            if self._waiting:
                self._waiting.popleft()
                self.done()
            return
        self.free(connection)

    def free(self, connection: _Connection) -> None:
        """A connection can take the next request."""
        if not self._waiting:
            self._free.append(connection)
        elif connection.closed:
            self._open_another()
        else:
            connection.send(*self._waiting.popleft())

    def lost(self) -> None:
        """A connection is closed."""
        self._open -= 1
        if self._waiting:
            self._open_another()

    def done(self) -> None:
        """An exchange has ended, well or not."""
        self._pending -= 1
        if not self._pending:
            self._idle.set()


class _Connection(asyncio.Protocol):
    """A kept connection with one request at a time; also the callbacks of the parser of its answers."""

    def __init__(self, drive: _Drive) -> None:
        self._drive = drive
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what a TCP connection has

    def send(self, request: bytes, exchange: Exchange) -> None:
        self._exchange = exchange
        self._transport.write(request)
        exchange.sent = time.perf_counter()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # this is not HTTP: whoever waits for an answer gets none
            self._transport.close()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self._transport.close()
            return
        exchange.answered, exchange.status = time.perf_counter(), self._parser.get_status_code()
        exchange.body, self._body = b"".join(self._body), []
        self._drive.done()
        if self._parser.should_keep_alive():
            self._parser = httptools.HttpResponseParser(self)
            self._drive.free(self)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        self._drive.lost()
        if self._exchange is not None:
            self._exchange = None
            self._drive.done()
