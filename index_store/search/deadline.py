"""Time as a search sees it: what the pairs of a plan take, by the pace of earlier searches, and what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

_MEMORY = 0.05
"""Share of the newest search in the averages; about twenty searches make them up."""


class Pace:
    """Seconds that a pair costs a search at each level, all of the level's overhead included.

    Levels differ: in a stack a layer above the items may cost ten times more a pair than theirs, and a search that a
    deadline narrows scores fewer pairs at some levels alone. Mean seconds over mean pairs, moving averages that each
    worker keeps. A search only reads them; who asked for it tells what its levels took.

    Args:
        seconds_per_pair: first guess for each level, before any search was timed.
    """

    def __init__(self, seconds_per_pair: float = 2e-6) -> None:
        self._guess = seconds_per_pair
        self._means: dict[int, tuple[float, float]] = {}

    def seconds_per_pair(self, level: int) -> float:
        """What a pair costs at a level."""
        if level not in self._means:
            return self._guess
        seconds, pairs = self._means[level]
        return seconds / pairs

    def seconds(self, plan: Mapping[int, float]) -> float:
        """What so many pairs at each level cost."""
        return sum(pairs * self.seconds_per_pair(level) for level, pairs in plan.items())

    def observe(self, level: int, pairs: int, seconds: float) -> None:
        """Takes a search's `pairs` > 0 pairs of a level into the averages, where large searches count for more."""
        mean_seconds, mean_pairs = self._means.get(level, (pairs * self._guess, pairs))
        self._means[level] = (mean_seconds + _MEMORY * (seconds - mean_seconds),
                              mean_pairs + _MEMORY * (pairs - mean_pairs))


@dataclass(frozen=True)
class Deadline:
    """A moment by which a search should have ended.

    Attributes:
        at: in seconds of `time.perf_counter()`.
        pace: of the worker.
    """

    at: float
    pace: Pace

    def left(self) -> float:
        """Seconds until then; negative where it has passed."""
        return self.at - time.perf_counter()
