"""Deadlines: the time left for a search, and the cost of its pairs, learned from earlier searches."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from index_store.search.moving_average import MovingAverage

_NEWEST = 0.05
"""Share of the newest search in the averages; about twenty searches make them up."""


class SearchCost:
    """Seconds per pair at each level of a search, the overhead of the level included.

    Levels differ: in a stack, a pair at a layer above the items may cost ten times as much as one at the items, and a
    search narrowed by a deadline scores fewer pairs at some levels only. The cost is mean seconds over mean pairs, both
    moving averages kept per worker. A search only reads them; the caller reports what each level took.

    Args:
        seconds_per_pair: first guess for each level, until a search was timed.
    """

    def __init__(self, seconds_per_pair: float = 2e-6) -> None:
        self._guess = seconds_per_pair
        self._means: dict[int, tuple[MovingAverage, MovingAverage]] = {}

    def seconds_per_pair(self, level: int) -> float:
        """Cost of one pair at a level."""
        if level not in self._means:
            return self._guess
        seconds, pairs = self._means[level]
        return seconds.mean / pairs.mean

    def seconds(self, plan: Mapping[int, float]) -> float:
        """Cost of a number of pairs at each level."""
        return sum(pairs * self.seconds_per_pair(level) for level, pairs in plan.items())

    def observe(self, level: int, pairs: int, seconds: float) -> None:
        """Adds a search's time for `pairs` > 0 pairs at a level to the averages; large searches count for more."""
        if level not in self._means:
            self._means[level] = (MovingAverage(_NEWEST, pairs * self._guess), MovingAverage(_NEWEST, pairs))
        mean_seconds, mean_pairs = self._means[level]
        mean_seconds.observe(seconds)
        mean_pairs.observe(pairs)


@dataclass(frozen=True)
class Deadline:
    """The moment by which a search should end.

    Attributes:
        at: in seconds of `time.perf_counter()`.
        cost: of searches in this worker.
    """

    at: float
    cost: SearchCost

    def left(self) -> float:
        """Seconds left; negative once it has passed."""
        return self.at - time.perf_counter()
