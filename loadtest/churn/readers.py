"""The readers: ask two services for the ads of users at a constant rate, until they are told to stop."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection

import numpy as np

from loadtest.processes.replicas import call, connect
from model.progress.bars import Bar

_THREADS = 2
"""Threads that ask each service."""


@dataclass(frozen=True)
class Answered:
    """An answer: when it was asked for, how long it took, in seconds, the last change in it, and its ads."""

    asked_at: float
    seconds: float
    as_of: int
    ads: list[str]


class Readers:
    """A `with` block during which answers are collected.

    Args:
        addresses: of both services.
        users: to ask as.
        rate: answers a second of both.
        seed: of the users.
    """

    def __init__(self, addresses: Sequence[tuple[str, int]], users: list[str], rate: float, seed: int) -> None:
        self._users, self._rate, self._seed = users, rate, seed
        self._stop, self._failures = threading.Event(), list[Exception]()
        self._threads = [threading.Thread(target=self._ask, args=(number, address))
                         for number, address in enumerate(list(addresses) * _THREADS)]
        self.answers: list[Answered] = []

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _ask(self, number: int, address: tuple[str, int]) -> None:
        random, pause = np.random.default_rng([self._seed, number]), len(self._threads) / self._rate
        try:
            with ExitStack() as stack:
                connection, due = connect(stack, address), time.perf_counter() + number / self._rate
                while not self._stop.wait(max(0.0, due - time.perf_counter())):
                    self.answers.append(ask(connection, self._users[random.integers(len(self._users))]))
                    due += pause
        except Exception as error:
            self._failures.append(error)
            self._stop.set()


def compared(address: tuple[str, int], users: Sequence[str], added: set[str]) -> tuple[float, int, int]:
    """Mean overlap of the beam's answers with exhaustive ones; added ads in the latter, and of these in the former."""
    overlaps, belong, found = [], 0, 0
    with ExitStack() as stack:
        connection = connect(stack, address)
        for user in Bar(users, desc="compared", unit="user"):
            beam, truth = (set(ask(connection, user, exact=exact).ads) for exact in (False, True))
            overlaps.append(len(beam & truth) / len(truth) if truth else 1.0)
            belong += len(truth & added)
            found += len(truth & added & beam)
    return float(np.mean(overlaps)), belong, found


def ask(connection: HTTPConnection, user: str, *, exact: bool = False) -> Answered:
    """The answer for a user, from the beam or exhaustive."""
    start = time.perf_counter()
    answer = call(connection, "POST", "/retrieve", json.dumps({"user_id": user, "exact": exact}))
    # Interned: a hundred thousand answers name the same ads again and again.
    return Answered(start, time.perf_counter() - start, answer["as_of"],
                    [sys.intern(ad["ad_id"]) for ad in answer["ads"]])
