"""A sample of recent request bodies of one worker, on which a new bundle is tried.

The bodies hold user ids and features, so they stay in memory: nothing here logs or writes them.
"""

from __future__ import annotations

import random
import time

_SPACING_SECONDS = 1.0


class RecentRequests:
    """Keeps up to `entries` bodies that span minutes, whatever the rate of requests.

    The first bodies are kept as they come. Once there are `entries` of them, at most one each `spacing` is taken, in
    place of one drawn at random: the kept ones are then `entries` x spacing old on average.

    Args:
        entries: bodies to keep; 0 keeps none.
        spacing: seconds.
    """

    def __init__(self, entries: int, spacing: float = _SPACING_SECONDS) -> None:
        self._entries, self._spacing = entries, spacing
        self._bodies: list[bytes] = []
        self._next = 0.0

    def add(self, body: bytes) -> None:
        """Offers a body to the sample; costs less than a microsecond."""
        if len(self._bodies) < self._entries:
            self._bodies.append(body)
            return
        now = time.monotonic()
        if now < self._next or not self._entries:
            return
        self._next = now + self._spacing
        del self._bodies[random.randrange(self._entries)]
        self._bodies.append(body)

    def bodies(self) -> list[bytes]:
        """The kept bodies, newest last."""
        return list(self._bodies)
