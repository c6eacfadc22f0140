"""How long a search of some number of pairs takes here, learned from the searches that were done."""

from __future__ import annotations

import threading

_MEMORY = 0.02
"""Share of the newest search in the averages."""

_DOUBT = 0.1
"""Spread of the pairs, as a share of their mean, from which on their slope counts for more than mere proportion."""

_LEAST_SLOPE = 0.1
"""Least slope of the line, as a share of mean seconds over mean pairs."""


class SearchTime:
    """A line through the recent searches, seconds against pairs: a part of the time is the same for all beams.

    Where all searches were about alike there is no line to draw; time is then taken to grow in proportion to pairs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen = 0
        self._pairs = self._seconds = self._variance = self._covariance = 0.0

    def observe(self, pairs: int, seconds: float) -> None:
        """Takes a finished search of `pairs` > 0 pairs into account."""
        with self._lock:
            self._observe(pairs, seconds)

    def _observe(self, pairs: int, seconds: float) -> None:
        self._seen += 1
        share = max(_MEMORY, 1 / self._seen)
        more, longer = pairs - self._pairs, seconds - self._seconds
        self._pairs += share * more
        self._seconds += share * longer
        self._variance += share * ((1 - share) * more * more - self._variance)
        self._covariance += share * ((1 - share) * more * longer - self._covariance)

    def pairs_within(self, seconds: float) -> float:
        """Pairs of a search that takes this long; 0 or less where none does, infinite before the first search."""
        with self._lock:
            if not self._seen:
                return float("inf")
            doubt, proportion = (_DOUBT * self._pairs) ** 2, self._seconds / self._pairs
            slope = (self._covariance + doubt * proportion) / (self._variance + doubt)
            # Noise may draw a line that falls; more pairs never take less time.
            return self._pairs + (seconds - self._seconds) / max(slope, _LEAST_SLOPE * proportion)
