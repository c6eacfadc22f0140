"""Circuit breaker: skips a failing dependency for a while, so that requests do not wait for it."""

from __future__ import annotations

import time


class UnavailableError(Exception):
    """The dependency was skipped or did not answer in time."""


class CircuitBreaker:
    """Opens at a failure; while it is open, one caller per `pause` seconds may try.

    Every caller that was allowed reports `success` or `failure`. Not thread-safe: for use in one event loop.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._open = False
        self._next_try = 0.0

    def allows(self) -> bool:
        """Whether the caller may use the dependency now."""
        if not self._open:
            return True
        now = time.monotonic()
        if now < self._next_try:
            return False
        # Set now and not when the try ends: a caller that never reports back must not block the others.
        self._next_try = now + self._pause
        return True

    def success(self) -> bool:
        """Closes the circuit; returns whether it was open."""
        was_open, self._open = self._open, False
        return was_open

    def failure(self) -> bool:
        """Opens the circuit for another pause; returns whether it was closed."""
        was_closed, self._open = not self._open, True
        self._next_try = time.monotonic() + self._pause
        return was_closed
