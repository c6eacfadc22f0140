"""Tally of ads: how often each was seen, of so many that memory stays bounded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable


class AdTally:
    """Counts ads; those that are seen rarely are forgotten once there are too many. Thread-safe.

    Args:
        room: ads to keep; with twice as many the rarer half is forgotten, so that an ad that is often seen stays.
    """

    def __init__(self, room: int = 1_000) -> None:
        self._room = room
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, ads: Iterable[str]) -> None:
        """Counts each ad once."""
        with self._lock:
            self._counts.update(ads)
            if len(self._counts) > 2 * self._room:
                self._counts = Counter(dict(self._counts.most_common(self._room)))

    def most(self, number: int) -> list[tuple[str, int]]:
        """The ads that were seen most often with their counts, the most frequent first."""
        with self._lock:
            return self._counts.most_common(number)
