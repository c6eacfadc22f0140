"""One HTTP/1.1 connection: ignores offers to upgrade, and closes once its client is too slow to send a request."""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.contract.errors import ErrorType, ServiceError
from service.http.observer import ID_HEADER, AccessEntry, new_id, note
from service.http.requests import JSON
from service.settings import variable


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits on the time for the headers of a request and for its body.

    Both count from the first byte. Before the first request uvicorn's `timeout_keep_alive` counts, as it does between
    requests. While a request is being answered, nothing is overdue: its endpoint limits the time for the body, and can
    say so in its reply.

    Args:
        header_seconds, body_seconds: the limits.
        options: those of uvicorn.
    """

    def __init__(self, *, header_seconds: float, body_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self.parser = _Parser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._header_seconds, self._body_seconds = header_seconds, body_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._begun = self._in_body = self._moved = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._begun and not data.strip(b"\r\n"):
            return  # blank lines between requests mean nothing, and must not stop the timer that runs
        super().data_received(data)
        if self._moved:  # a request that came in one piece needs no timer
            self._moved = False
            self._start_timer()

    def on_message_begin(self) -> None:
        self._begun, self._in_body, self._moved = True, False, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if not self._upgrade_is_offered():
            self._in_body = self._moved = True
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._upgrade_is_offered():
            self._begun, self._in_body, self._moved = False, False, True
            super().on_message_complete()

    def _upgrade_is_offered(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def head(self) -> bytes:
        """The request line and the headers as received, without any offer to upgrade."""
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode(),
                 *(name + b": " + value for name, value in self.headers if name != b"upgrade")]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _start_timer(self) -> None:
        self._stop_timer()
        if self._begun:
            seconds = self._body_seconds if self._in_body else self._header_seconds
            self._timer = self.loop.call_later(seconds, self._overdue)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_timer()
            return
        if self._begun and not self._in_body and not self.transport.is_closing():
            self._refuse()
        self.transport.close()

    def _refuse(self) -> None:
        """Replies 408 to a request whose headers are incomplete."""
        entry = AccessEntry(new_id(), time.perf_counter() - self._header_seconds, status=408,
                               error_type=ErrorType.REQUEST_TIMEOUT)
        error = ServiceError(ErrorType.REQUEST_TIMEOUT, f"the headers of the request were not complete after "
                             f"{self._header_seconds:g} s", f"send them at once, or raise {variable('header_seconds')}")
        body = error.body()
        headers = {b"content-type": JSON.encode(), b"content-length": b"%d" % len(body), b"connection": b"close",
                   ID_HEADER: entry.request_id.encode()}
        self.transport.write(STATUS_LINE[entry.status] + b"".join(b"%s: %s\r\n" % line for line in headers.items())
                             + b"\r\n" + body)
        note(entry)


class _Parser(httptools.HttpRequestParser):
    """Parses a request that offers an upgrade, such as `Upgrade: h2c`, as if it did not (RFC 9110, section 7.8).

    llhttp takes what follows the headers for the other protocol. So it parses the headers again, without the offer.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as found:
            self.feed_data(self._connection.head() + bytes(data[found.args[0]:]))
