"""One try at a time where nobody answers, however many calls of a client wait."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST, _LONGEST = 0.05, 0.5
"""Seconds between two tries: doubles from the first to the longest."""


class Gate:
    """Open, but closed for a while after each connection that could not be made.

    Hundreds of calls that wait for a service to come back would otherwise keep a core busy with connections that are
    refused, and meet the service together when it is back.

    Args:
        uniform: draws the jitter between two numbers of seconds.
        now: clock, in seconds.
    """

    def __init__(self, uniform: Callable[[float, float], float], now: Callable[[], float] = time.monotonic) -> None:
        self._uniform, self._now = uniform, now
        self._refused, self._opens = 0, 0.0

    def wait(self) -> float:
        """Seconds after which to ask again; 0 for whoever may try now, while the others go on waiting."""
        left = self._opens - self._now()
        if left > 0:
            return left + self._uniform(0.0, self._pause)
        if self._refused:
            self._opens = self._now() + self._pause
        return 0.0

    def refused(self) -> None:
        """Closes: no connection could be made."""
        self._refused += 1
        self._opens = self._now() + self._pause

    def passed(self) -> None:
        """Opens: there was a connection."""
        self._refused, self._opens = 0, 0.0

    @property
    def _pause(self) -> float:
        return min(_LONGEST, _FIRST * 2.0 ** min(self._refused - 1, 10))
