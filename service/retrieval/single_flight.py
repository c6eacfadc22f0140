"""Single flight: one computation for all concurrent requests with the same key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Flight(Generic[Value]):
    """The value of one key while requests for it are under way; thread-safe."""

    def __init__(self) -> None:
        self.members = 0
        self._lock = threading.Lock()
        self._value: Value | None = None

    def value(self, compute: Callable[[], Value]) -> tuple[Value, bool]:
        """The value, and whether this call computed it. Other calls wait; after a failure the next one tries."""
        with self._lock:
            if self._value is not None:
                return self._value, False
            self._value = compute()
            return self._value, True


class SingleFlight(Generic[Value]):
    """Flights by key, for one event loop; only `Flight.value` may be called in other threads."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight[Value]] = {}

    @contextmanager
    def join(self, key: bytes) -> Iterator[Flight[Value]]:
        """The flight of a key; it ends when its last request leaves this block."""
        flight = self._flights.setdefault(key, Flight())
        flight.members += 1
        try:
            yield flight
        finally:
            flight.members -= 1
            if not flight.members:
                del self._flights[key]
