"""The end of a server: what has arrived is answered."""

import asyncio
import socket
import threading
import time
from functools import partial

import pytest
import uvicorn

from service.http.connection import _LAST_SECONDS, Connection
from service.http.server import Server

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def ended_after(arrive, before=None):
    """What a client reads whose request arrives just before the end, while the event loop is busy with other things."""
    async def serve():
        config = uvicorn.Config(app, http=partial(Connection, header_seconds=60, body_seconds=60), lifespan="off",
                                log_config=None, timeout_graceful_shutdown=60)
        config.load()
        server, listening = Server(config), socket.create_server(("127.0.0.1", 0))
        server.lifespan = config.lifespan_class(config)
        await server.startup([listening])
        client = socket.create_connection(listening.getsockname()) if before else None
        if client is not None:
            client.sendall(before)
            received = b""
            while not received.endswith(b"ok"):
                part = await asyncio.to_thread(client.recv, 1000)
                assert part
                received += part
        client = arrive(client, listening.getsockname())
        began = time.monotonic()
        await server.shutdown([listening])
        assert time.monotonic() - began < 30
        with client:
            client.settimeout(60)
            return client.recv(1000)

    return asyncio.run(serve())


def arrived(client, address):
    client = client or socket.create_connection(address)
    client.sendall(REQUEST)
    return client


@pytest.fixture
def patient(monkeypatch):
    """An end that waits for connections however late a busy machine makes them."""
    monkeypatch.setattr("service.http.server._LAST_SECONDS", 60.0)


@pytest.mark.parametrize("before", [None, REQUEST], ids=["a new connection", "an idle connection"])
def test_a_request_that_has_arrived_is_answered(patient, before):
    assert ended_after(arrived, before).startswith(b"HTTP/1.1 200")


def test_a_client_that_has_just_connected_is_answered(patient, monkeypatch):
    monkeypatch.setattr("service.http.connection._FIRST_SECONDS", 4.0)  # a busy machine lets the client send late

    def connected(client, address):
        client = socket.create_connection(address)
        threading.Timer(3 * _LAST_SECONDS, client.sendall, [REQUEST]).start()
        return client

    assert ended_after(connected).startswith(b"HTTP/1.1 200")


def test_an_idle_connection_is_closed():
    assert ended_after(lambda client, address: client, REQUEST) == b""


def test_a_client_that_never_asks_does_not_hold_up_the_end():
    assert ended_after(lambda client, address: socket.create_connection(address)) == b""


def test_a_client_hears_at_once_that_its_idle_connection_is_closed():
    """Or its next request could still arrive before the socket closes, an iteration of the event loop later."""
    async def heard():
        loop, connections, found = asyncio.get_running_loop(), [], []
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()

        def connection():
            connections.append(Connection(header_seconds=60, body_seconds=60, config=config,
                                          server_state=uvicorn.server.ServerState(), app_state={}))
            return connections[-1]

        async with await loop.create_server(connection, "127.0.0.1", 0) as listening:
            with socket.create_connection(listening.sockets[0].getsockname()) as client:
                client.setblocking(False)
                await loop.sock_sendall(client, REQUEST)
                reply = b""
                while not reply.endswith(b"ok"):
                    reply += await loop.sock_recv(client, 1000)
                connections[0].shutdown()
                loop.call_later(_LAST_SECONDS + 1e-4, lambda: found.append(client.recv(1)))
                time.sleep(2 * _LAST_SECONDS)  # so that both are due in one iteration
                await asyncio.sleep(_LAST_SECONDS)
        return found

    assert asyncio.run(heard()) == [b""]
