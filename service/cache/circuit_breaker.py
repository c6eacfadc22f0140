"""Leaves something alone for a while after it failed, so that a dead one costs nothing."""

from __future__ import annotations

import time


class CircuitBreaker:
    """After a failure all callers are turned away for `pause` seconds; then one of them may try, once a pause.

    A caller who was let through reports `success` or `failure`. Not thread-safe: for one event loop.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._open = False
        self._next_try = 0.0

    def allows(self) -> bool:
        """Whether the caller may try."""
        if not self._open:
            return True
        now = time.monotonic()
        if now < self._next_try:
            return False
        # Also the deadline of this try: a caller who never reports back does not keep the others out.
        self._next_try = now + self._pause
        return True

    def success(self) -> bool:
        """Returns whether the circuit was open until now."""
        was_open, self._open = self._open, False
        return was_open

    def failure(self) -> bool:
        """Returns whether the circuit was closed until now."""
        was_closed, self._open = not self._open, True
        self._next_try = time.monotonic() + self._pause
        return was_closed
