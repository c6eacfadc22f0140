"""Open-loop HTTP: requests leave when a schedule says so, on kept connections, whatever has become of earlier ones.

Knows nothing of ads: it moves bytes and notes times. Given several addresses it does what a proxy in front of them
would: requests go round, and one that was not answered, or with a 503, may be tried again at the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import httptools

Address = tuple[str, int]

_MOST_CONNECTIONS = 512  # half of what the selector can watch
_GRACE_SECONDS = 10.0
_UNAVAILABLE = 503
LOST, REFUSED = 0, -1
"""Statuses of a request that was sent and not answered whole, and of one that no connection could be had for."""


@dataclass
class Exchange:
    """One request and what came of it. Times are of `time.perf_counter`, `sent` is that of the first try.

    Attributes:
        status: of the last answer, below 100 if no whole one came.
        failures: statuses of the tries before the last.
    """

    scheduled: float
    sent: float = 0.0
    answered: float = 0.0
    status: int = LOST
    body: bytes = b""
    request: bytes = b""
    failures: list[int] = field(default_factory=list)


def drive(addresses: Sequence[Address], arrivals: Iterable[tuple[float, bytes]], connections: int, *, tries: int = 1,
          ended: Callable[[Exchange], None] | None = None) -> list[Exchange]:
    """Sends each request at its time and collects the answers.

    Args:
        addresses: hosts and ports, which requests go to in turn.
        arrivals: seconds after the start, rising, and the whole HTTP/1.1 request that leaves then. Asked for the next
            when the one before has left, so whoever makes them may end them at any time.
        connections: how many are opened beforehand; more follow when all of them wait for an answer.
        tries: how often a request is sent at most, until it has an answer that is no 503.
        ended: called with each exchange when nothing more will come of it; may drop its body.

    Returns:
        One Exchange a request, in the order of `arrivals`. Answers that take longer than ten seconds after the last
        request are not waited for.

    Raises:
        OSError: nothing listens at one of the addresses at the start.
    """
    # epoll counts in whole milliseconds and would send late by up to one; select counts in microseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(_Drive(addresses, connections, tries, ended).run(arrivals))


def post(path: str, body: bytes, host: str) -> bytes:
    """A whole HTTP/1.1 request with a JSON body."""
    head = (f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


@contextmanager
def first_in_line() -> Iterator[None]:
    """Runs this thread before all ordinary ones, where we may.

    On two busy cores 99 % of the requests leave within 0.6 ms then, not 4 ms.
    """
    before = None
    with contextlib.suppress(OSError, AttributeError):  # not ours to ask for, or no such thing on this system
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, before, os.sched_param(0))


class _Drive:
    def __init__(self, addresses: Sequence[Address], connections: int, tries: int,
                 ended: Callable[[Exchange], None] | None) -> None:
        most = _MOST_CONNECTIONS // len(addresses)
        self._first = min(connections // len(addresses) + 1, most)
        self._pools = [_Pool(self, address, most) for address in addresses]
        self._tries, self._ended = tries, ended
        self._pending = self._turn = 0
        self._idle = asyncio.Event()

    async def run(self, arrivals: Iterable[tuple[float, bytes]]) -> list[Exchange]:
        for pool in self._pools:
            await pool.open(self._first)
        begin = time.perf_counter() + 0.05
        exchanges = []
        for offset, request in arrivals:
            exchange = Exchange(begin + offset, request=request)
            delay = exchange.scheduled - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            exchanges.append(exchange)
            self._pending += 1
            self._turn = (self._turn + 1) % len(self._pools)
            self._pools[self._turn].send(exchange)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                while self._pending:
                    self._idle.clear()
                    await self._idle.wait()
        for pool in self._pools:
            await pool.close()
        return exchanges

    def tried(self, exchange: Exchange, pool: _Pool) -> None:
        """One try has ended in this pool, well or not."""
        failed = exchange.status in (LOST, REFUSED, _UNAVAILABLE)
        if failed and len(exchange.failures) + 1 < self._tries:
            exchange.failures.append(exchange.status)
            exchange.status = LOST
            self._pools[(self._pools.index(pool) + 1) % len(self._pools)].send_anew(exchange)
            return
        if self._ended is not None:
            self._ended(exchange)
        self._pending -= 1
        if not self._pending:
            self._idle.set()


class _Pool:
    """The connections to one address."""

    def __init__(self, drive: _Drive, address: Address, most: int) -> None:
        self._drive, self._address, self._most = drive, address, most
        self._free: deque[_Connection] = deque()
        self._waiting: deque[Exchange] = deque()
        self._open = 0
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self, connections: int) -> None:
        """Opens the first connections.

        Raises:
            OSError: nothing listens there.
        """
        for _ in range(connections):
            self._open += 1
            self.free(await self._connection())

    async def close(self) -> None:
        """Gives up on connections that are being opened."""
        opening = list(self._opening)
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)

    def send(self, exchange: Exchange) -> None:
        """Sends on a connection that is free, or on the next that will be."""
        while self._free:
            connection = self._free.popleft()  # the one that has rested longest, so that all workers get their share
            if not connection.closed:
                connection.send(exchange)
                return
        self.send_anew(exchange)

    def send_anew(self, exchange: Exchange) -> None:
        """Sends on no connection that has rested: another of them may be as dead as the one that was tried."""
        self._waiting.append(exchange)
        self._open_another()

    def _open_another(self) -> None:
        if self._open < self._most:
            self._open += 1
            task = asyncio.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        """Opens one of the connections that `_open` counts already."""
        try:
            connection = await self._connection()
        except OSError:
            self._open -= 1
            if self._waiting:
                exchange = self._waiting.popleft()
                exchange.sent = exchange.sent or time.perf_counter()
                exchange.status = REFUSED
                self._drive.tried(exchange, self)
            return
        self.free(connection)

    async def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: _Connection(self, self._drive), *self._address))[1]

    def free(self, connection: _Connection) -> None:
        """A connection can take the next request."""
        if not self._waiting:
            self._free.append(connection)
        elif connection.closed:
            self._open_another()
        else:
            connection.send(self._waiting.popleft())

    def lost(self) -> None:
        """A connection is closed."""
        self._open -= 1
        if self._waiting:
            self._open_another()


class _Connection(asyncio.Protocol):
    """A kept connection with one request at a time; also the callbacks of the parser of its answers."""

    def __init__(self, pool: _Pool, drive: _Drive) -> None:
        self._pool, self._drive = pool, drive
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what a TCP connection has

    def send(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._transport.write(exchange.request)
        exchange.sent = exchange.sent or time.perf_counter()

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
        if self._parser.should_keep_alive():
            self._parser = httptools.HttpResponseParser(self)
            self._pool.free(self)
        else:
            self._transport.close()
        self._drive.tried(exchange, self._pool)

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        self._pool.lost()
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            self._drive.tried(exchange, self._pool)
