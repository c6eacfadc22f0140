"""uvicorn's server with an end that loses no request that has arrived."""

from __future__ import annotations

import asyncio
import select
import socket
import time

import uvicorn

_LAST_SECONDS, _STEP_SECONDS = 1.0, 0.01
"""How long an end waits for connections at most, and between two looks."""


class Server(uvicorn.Server):
    """A server that accepts who is waiting and answers who has asked before it goes.

    uvicorn closes its socket with connections that the kernel has accepted and the event loop has not, and ends 0.1 s
    later with requests that have arrived and are not read. On a busy machine there are some of both.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends; connections get a second at most, requests that are being answered the time that uvicorn gives them."""
        last = time.monotonic() + _LAST_SECONDS
        while select.select(sockets or [], [], [], 0)[0] and time.monotonic() < last:
            await asyncio.sleep(_STEP_SECONDS)
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections and time.monotonic() < last:
            await asyncio.sleep(_STEP_SECONDS)
        await super().shutdown()
