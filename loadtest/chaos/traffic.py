"""Background load of a scenario: open-loop requests with every reply checked."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import orjson

from loadtest.chaos.answers import Answers
from loadtest.chaos.result import Outcome, by_phase
from loadtest.http.client import Address, Exchange, drive, real_time_priority

_CONNECTIONS = 32
_WARM_UP_SECONDS = 1.0


class Traffic:
    """A `with` block during which requests arrive as a Poisson process, drawn by Zipf's law.

    Args:
        addresses: replicas that requests go to in turn.
        answers: requests and expected replies.
        rate: requests per second.
        tries: most attempts per request, each at the next replica.

    Attributes:
        outcomes: of the requests that are done.
    """

    def __init__(self, addresses: Sequence[Address], answers: Answers, rate: float, *, tries: int = 1) -> None:
        self._addresses, self._answers, self._rate, self._tries = addresses, answers, rate, tries
        self._marks: list[tuple[str, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.outcomes: list[Outcome] = []

    def __enter__(self) -> Self:
        gc.collect()
        gc.disable()  # a collection would delay requests
        self._thread.start()
        try:
            self.spend(_WARM_UP_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._raise()

    def phase(self, name: str) -> None:
        """Starts a phase; requests sent from now on belong to it."""
        self._marks.append((name, time.perf_counter()))

    def spend(self, seconds: float) -> None:
        """Keeps the load running for a while."""
        self._stop.wait(seconds)
        self._raise()

    def phases(self) -> dict[str, list[Outcome]]:
        """Outcomes by phase; complete after the block."""
        return by_phase(self.outcomes, self._marks)

    def _run(self) -> None:
        try:
            with real_time_priority():
                drive(self._addresses, self._arrivals(), _CONNECTIONS, tries=self._tries, ended=self._note)
        except BaseException as error:
            self._error = error

    def _arrivals(self) -> Iterator[tuple[float, bytes]]:
        random = np.random.default_rng(0)
        requests = self._answers.requests
        popularity = 1 / np.arange(1, len(requests) + 1)
        cumulative, offset = np.cumsum(popularity), 0.0
        while not self._stop.is_set():
            offset += float(random.exponential(1 / self._rate))
            yield offset, requests[int(np.searchsorted(cumulative, random.random() * cumulative[-1]))]

    def _note(self, exchange: Exchange) -> None:
        body = orjson.loads(exchange.body) if exchange.status > 0 else {}
        lag_ms, ms = ((then - exchange.scheduled) * 1e3 for then in (exchange.sent, exchange.answered))
        problem = self._answers.problem(exchange.request, body) if exchange.status == 200 else None
        self.outcomes.append(Outcome(
            exchange.scheduled, lag_ms, ms, exchange.status, tuple(exchange.failures), body.get("error_type", ""),
            body.get("bundle_id", ""), body.get("user_cache", ""), tuple(body.get("degraded", ())), problem))
        exchange.body = exchange.request = b""

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()
        gc.enable()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
