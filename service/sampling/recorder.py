"""Recent request bodies of one worker, for a new bundle to be tried on. Knows nothing of what they say.

They hold user ids and features, so they stay in memory: nothing here logs or writes them.
"""

from __future__ import annotations

import random
import time

_SPACING_SECONDS = 1.0


class Recorder:
    """Keeps up to `entries` bodies that span minutes, whatever the rate of requests.

    The first bodies are kept as they come. Once it is full it takes one a spacing at most, in place of one drawn at
    random: the kept ones are then `entries` x spacing old on average, and the oldest some times that.

    Args:
        entries: bodies to keep; 0 keeps none.
        spacing: seconds.
    """

    def __init__(self, entries: int, spacing: float = _SPACING_SECONDS) -> None:
        self._entries, self._spacing = entries, spacing
        self._bodies: list[bytes] = []
        self._next = 0.0

    def note(self, body: bytes) -> None:
        """Takes a body, or lets it pass; costs less than a microsecond."""
        if len(self._bodies) < self._entries:
            self._bodies.append(body)
            return
        now = time.monotonic()
        if now < self._next or not self._entries:
            return
        self._next = now + self._spacing
        del self._bodies[random.randrange(self._entries)]
        self._bodies.append(body)

    def requests(self) -> list[bytes]:
        """The kept bodies, newest last."""
        return list(self._bodies)
