"""Calls through the Python client while the only replica is restarted, overloaded and swapped: none may fail."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from loadtest.chaos.answers import Answers
from loadtest.chaos.result import Outcome, Result, judged
from loadtest.chaos.swaps import swap
from loadtest.chaos.testbed import FIRST, SECOND, Testbed
from loadtest.chaos.traffic import Traffic
from loadtest.http.client import real_time_priority
from loadtest.http.open_loop import LAGGED
from loadtest.processes.service_process import HOST, ServiceProcess
from monn_hill import AsyncClient, Client, RetrievalError
from monn_hill.schemas import RetrieveRequest

_DEADLINE_SECONDS = 10.0
_OVERLOAD_SECONDS, _OVERLOAD_RATE = 5.0, 500.0
_THREADS = 512
"""Of the blocking client: as many calls as arrive while the service is away for the length of their deadline."""


class Calls(Traffic):
    """Traffic whose requests are calls of one client.

    Args:
        port: of the replica.
        answers: requests and expected replies.
        rate: calls per second.

    Attributes:
        tries: HTTP status, or kind of error, -> tries of the client that ended with it.
    """

    def __init__(self, port: int, answers: Answers, rate: float) -> None:
        super().__init__([(HOST, port)], answers, rate)
        self._url = f"http://{HOST}:{port}"
        self.tries: Counter[str] = Counter()

    def _run(self) -> None:
        try:
            with real_time_priority():  # which the threads of the blocking client inherit
                self._call_all(time.perf_counter())
        except BaseException as error:
            self._error = error

    @abstractmethod
    def _call_all(self, begin: float) -> None:
        """Makes the calls when they are due, and notes their outcomes."""

    def _note_reply(self, request: bytes, at: float, sent: float, reply: Mapping[str, Any] | RetrievalError) -> None:
        ended, status, error_type, problem = time.perf_counter(), 200, "", None
        if isinstance(reply, RetrievalError):
            status, error_type = reply.status or 0, reply.error_type
        else:
            problem = self._answers.problem(request, reply)
        self.outcomes.append(Outcome(at, (sent - at) * 1e3, (ended - at) * 1e3, status, (), error_type,
                                     problem=problem))


class BlockingCalls(Calls):
    """Calls of one Client by many threads."""

    def _call_all(self, begin: float) -> None:
        with (Client(self._url, timeout=_DEADLINE_SECONDS, transport=_Counting(self.tries)) as client,
              ThreadPoolExecutor(_THREADS) as threads):
            for offset, request in self._arrivals():
                time.sleep(max(begin + offset - time.perf_counter(), 0))
                threads.submit(self._call, client, request, begin + offset)

    def _call(self, client: Client, request: bytes, at: float) -> None:
        sent = time.perf_counter()
        reply: Mapping[str, Any] | RetrievalError
        try:
            reply = client.retrieve(**_query(request))
        except RetrievalError as error:
            reply = error
        self._note_reply(request, at, sent, reply)


class AwaitedCalls(Calls):
    """Calls of one AsyncClient."""

    def _call_all(self, begin: float) -> None:
        asyncio.run(self._await_all(begin))

    async def _await_all(self, begin: float) -> None:
        async with (AsyncClient(self._url, timeout=_DEADLINE_SECONDS, transport=_AsyncCounting(self.tries)) as client,
                    asyncio.TaskGroup() as calls):
            for offset, request in self._arrivals():
                await asyncio.sleep(begin + offset - time.perf_counter())
                calls.create_task(self._call(client, request, begin + offset))

    async def _call(self, client: AsyncClient, request: bytes, at: float) -> None:
        sent = time.perf_counter()
        reply: Mapping[str, Any] | RetrievalError
        try:
            reply = await client.retrieve(**_query(request))
        except RetrievalError as error:
            reply = error
        self._note_reply(request, at, sent, reply)


def _query(request: bytes) -> RetrieveRequest:
    query: RetrieveRequest = json.loads(request.partition(b"\r\n\r\n")[2])
    return query


@contextmanager
def _counted(tries: Counter[str]) -> Iterator[None]:
    """Counts a try that ends with an error of the connection."""
    try:
        yield
    except httpx.TransportError as error:
        tries[type(error).__name__] += 1
        raise


class _Counting(httpx.HTTPTransport):
    def __init__(self, tries: Counter[str]) -> None:
        super().__init__()
        self._tries = tries

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with _counted(self._tries):
            response = super().handle_request(request)
        self._tries[str(response.status_code)] += 1
        return response


class _AsyncCounting(httpx.AsyncHTTPTransport):
    def __init__(self, tries: Counter[str]) -> None:
        super().__init__()
        self._tries = tries

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _counted(self._tries):
            response = await super().handle_async_request(request)
        self._tries[str(response.status_code)] += 1
        return response


def client_calls(testbed: Testbed) -> list[Result]:
    """Each call has 10 s; the restarts, the overload of 5 s and the swaps come one after the other."""
    return [_calls(testbed, AwaitedCalls, "client")]


def blocking_calls(testbed: Testbed) -> list[Result]:
    """The same through the client that blocks."""
    return [_calls(testbed, BlockingCalls, "client-blocking")]


def _calls(testbed: Testbed, kind: type[Calls], scenario: str) -> Result:
    scale = testbed.scale
    store = testbed.store(FIRST)
    replica = _started(testbed, store)
    away = []
    with kind(replica.address[1], testbed.answers, scale.rate) as calls:
        calls.phase("before")
        calls.spend(scale.seconds)
        for _ in range(scale.restarts):
            calls.phase("restarted")
            began = time.perf_counter()
            replica.stop()
            replica = _started(testbed, store, replica.address[1])
            away.append(round(time.perf_counter() - began, 1))
            calls.spend(scale.seconds / scale.restarts)
        calls.phase("overloaded")
        others = _overload(replica, testbed.bundle, min(scale.seconds, _OVERLOAD_SECONDS))
        calls.spend(scale.seconds)
        calls.phase("swapped")
        for number in range(scale.swaps):
            swap(replica, FIRST if number % 2 else SECOND)
        calls.phase("after")
        calls.spend(scale.seconds)
    replica.stop()
    result = judged(scenario, calls.phases(), {
        "calls": len(calls.outcomes), "tries": dict(sorted(calls.tries.items())), "restarts": len(away),
        "away_s": median(away), "swaps": scale.swaps, "sent_by_others": others})
    if not result.problems:
        before = result.phases["before"]
        result.facts["added_ms"] = {phase: {name: round(row[name] - before[name], 1) for name in ("p50_ms", "p99_ms")}
                                    for phase, row in result.phases.items() if phase != "before"}
    return result


def _started(testbed: Testbed, store: Path, port: int = 0) -> ServiceProcess:
    """A replica with one worker, and a drain that calls run into."""
    return testbed.replica(store, workers=1, port=port, RETRIEVAL_DRAIN_SECONDS="1")


def _overload(replica: ServiceProcess, bundle: Path, seconds: float) -> int:
    """Sends requests of others, from a process of its own; returns how many."""
    done = subprocess.run([sys.executable, "-m", "loadtest", "http", "--url", replica.url, "--bundle", str(bundle),
                           "--rates", f"{_OVERLOAD_RATE:g}", "--seconds", f"{seconds:g}"],
                          capture_output=True)
    if done.returncode not in (0, LAGGED):  # whose schedule slipped is an overload all the same
        done.check_returncode()
    (row,) = json.loads(done.stdout.splitlines()[-1])["rates"]
    sent: int = row["sent"]
    return sent
