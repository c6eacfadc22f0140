"""Search time: how long a search with a given number of pairs takes, learned from recent searches."""

from __future__ import annotations

import threading

from index_store.search.moving_average import MovingAverage

_NEWEST = 0.02
"""Share of the newest search in the averages."""

_DOUBT = 0.1
"""Spread of the pairs, as a share of their mean, above which the fitted slope outweighs mere proportion."""

_LEAST_SLOPE = 0.1
"""Least slope of the line, as a share of mean seconds over mean pairs."""


class SearchTime:
    """A line fitted through recent searches, seconds against pairs; its intercept is the time that every beam takes.

    Where all searches were about the same size no line can be fitted; time is then taken to grow in proportion to
    pairs. Threads may share it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs, self._seconds, self._squares, self._products = (MovingAverage(_NEWEST) for _ in range(4))

    def observe(self, pairs: int, seconds: float) -> None:
        """Adds a finished search of `pairs` > 0 pairs to the fit."""
        with self._lock:
            self._pairs.observe(pairs)
            self._seconds.observe(seconds)
            self._squares.observe(pairs * pairs)
            self._products.observe(pairs * seconds)

    def pairs_within(self, seconds: float) -> float:
        """Pairs of a search that takes this long; 0 or less if none is that short, infinite before the first one."""
        with self._lock:
            if not self._pairs.count:
                return float("inf")
            pairs, mean = self._pairs.mean, self._seconds.mean
            variance, covariance = self._squares.mean - pairs * pairs, self._products.mean - pairs * mean
        doubt, proportion = (_DOUBT * pairs) ** 2, mean / pairs
        slope = (covariance + doubt * proportion) / (variance + doubt)
        # Noise may tilt the line downwards; more pairs never take less time.
        return pairs + (seconds - mean) / max(slope, _LEAST_SLOPE * proportion)
