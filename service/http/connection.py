"""One HTTP/1.1 connection: ignores offers to upgrade, and closes once its client is too slow to send or to read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from array import array
from fcntl import ioctl
from termios import FIONREAD
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.contract.errors import ErrorType, ServiceError
from service.http.observer import CLIENT_GONE, ID_HEADER, AccessEntry, new_id, note
from service.http.requests import JSON
from service.settings import variable

_LAST_SECONDS, _FIRST_SECONDS = 0.1, 0.8
"""How long a connection stays open when the server ends: an idle one, whose next request may have arrived and is not
read yet; and one without a request so far, whose client has just opened it to send one."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits on the time for the headers of a request, for its body, and between requests.

    One timer, in the place of uvicorn's keep-alive timer, counts from the first byte of the headers or of the body, or
    from the last reply. While a request is being answered, nothing is overdue: its endpoint limits the time for the
    body, and can say so in its reply. A client that has not read the last reply by then is cut off.

    Args:
        header_seconds, body_seconds: the limits.
        options: those of uvicorn.
    """

    def __init__(self, *, header_seconds: float, body_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._header_seconds, self._body_seconds = header_seconds, body_seconds
        self._begun = self._in_body = self._moved = False
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()
        cycle = self._answering  # uvicorn tells only the last of several pipelined requests
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            entry = cycle.scope.get("access_entry")
            if isinstance(entry, AccessEntry) and entry.status:  # its reply has begun
                entry.status = CLIENT_GONE
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Closes an idle connection a moment later, and one that is being answered after its reply."""
        if self.cycle is None:
            self.loop.call_later(_FIRST_SECONDS, self._end)
        elif self.cycle.response_complete:
            self.loop.call_later(_LAST_SECONDS, self._end)
        else:
            super().shutdown()

    def _end(self) -> None:
        """Closes the connection, but first reads and answers what has arrived: a busy machine is late to read it."""
        if not self.transport.is_closing() and not self._said_goodbye():
            self.loop.call_later(_LAST_SECONDS, self._end)
        else:
            super().shutdown()

    def _said_goodbye(self) -> bool:
        """Tells the client at once that no reply will follow, unless bytes of a request have arrived and are not read.

        The transport alone would close the socket an iteration of the event loop later, and reset a request that has
        arrived by then.
        """
        waiting = array("i", [0])
        with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as handle:
            ioctl(handle.fileno(), FIONREAD, waiting)
            if waiting[0]:
                return False
            with contextlib.suppress(OSError):  # the client has gone
                handle.shutdown(socket.SHUT_WR)
        return True

    def data_received(self, data: bytes) -> None:
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
            self._moved = True
        if self._moved:  # a part of a request that drips in, and blank lines between requests, extend no limit
            self._moved = False
            self._start_timer()

    def _parse(self, rest: memoryview) -> None:
        """Parses what came; a request that offers an upgrade, as if it did not (RFC 9110, section 7.8).

        llhttp takes what follows the headers of such a request for the other protocol. So a new parser gets the headers
        without the offer, then what follows them.
        """
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                head = self._head()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(head)
                rest = rest[offer.args[0]:]

    def _head(self) -> bytes:
        """The request line and the headers as they came, but for an offer to upgrade."""
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode(),
                 *(name + b": " + value for name, value in self.headers if name != b"upgrade")]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_message_begin(self) -> None:
        self._begun, self._in_body, self._moved = True, False, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise httptools.HttpParserError("a tunnel cannot be had here")
        if not self.parser.should_upgrade():
            self._in_body = self._moved = True
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._begun, self._in_body, self._moved = False, False, True
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._start_timer()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _start_timer(self) -> None:
        """Limits the time until the next part of a request; it counts anew from each part, and from each reply."""
        self._unset_keepalive_if_required()
        seconds = (self.timeout_keep_alive if not self._begun else
                   self._body_seconds if self._in_body else self._header_seconds)
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        if self.transport.get_write_buffer_size():  # a reply, unread since the timer started
            self.transport.abort()
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and not self.transport.is_closing():
            if self._begun and not self._in_body:
                self._refuse()
            self.transport.close()
        self._start_timer()

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
