"""Two services that serve one bundle and follow one new change log, and calls to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.processes.service_process import TOKEN, ServiceProcess, service_environment

_PATIENCE_SECONDS = 60.0
"""Longest wait for a reply."""


@contextmanager
def two_replicas(bundle: Path, workers: int) -> Iterator[list[tuple[str, int]]]:
    """Starts the services and gives their addresses once both are ready.

    Args:
        bundle: that both serve.
        workers: of each.
    """
    with TemporaryDirectory() as place, ExitStack() as stack:
        environment = service_environment(RETRIEVAL_WRITE_TOKEN=TOKEN, RETRIEVAL_CHANGE_LOG=f"{place}/changes.sqlite3")
        services: list[ServiceProcess] = []
        for name in ("one", "two"):
            services.append(ServiceProcess(bundle, Path(place, f"{name}.log"), workers=workers,
                                           environment=environment))
            stack.enter_context(services[-1])
        for service in services:
            service.wait_until_ready()
        yield [service.address for service in services]


def connect(stack: ExitStack, address: tuple[str, int]) -> HTTPConnection:
    """A connection that is closed at the end of the stack."""
    connection = HTTPConnection(*address, timeout=_PATIENCE_SECONDS)
    stack.callback(connection.close)
    return connection


def call(connection: HTTPConnection, method: str, path: str, body: str | None = None,
         media_type: str = "application/json") -> dict[str, Any]:
    """The JSON of a reply; the call bears the write token.

    Raises:
        RuntimeError: its status is not 200.
    """
    connection.request(method, path, body, {"Content-Type": media_type, "Authorization": f"Bearer {TOKEN}"})
    reply = connection.getresponse()
    answer: dict[str, Any] = json.loads(reply.read())
    if reply.status != 200:
        raise RuntimeError(f"{method} {path} was answered with {reply.status}: {answer}")
    return answer
