"""Time as a search sees it: how many pairs still fit before a deadline, by the pace of earlier searches."""

from __future__ import annotations

import time
from dataclasses import dataclass

_MEMORY = 0.05
"""Share of the newest search in the averages; about twenty searches make them up."""

_FIRST_PAIRS = 1_000.0


class Pace:
    """Seconds that a pair costs a search, all of its overhead included: mean seconds over mean
    pairs, moving averages that each worker keeps.

    Args:
        seconds_per_pair: first guess, before any search was timed.
    """

    def __init__(self, seconds_per_pair: float = 2e-6) -> None:
        self._mean = (_FIRST_PAIRS * seconds_per_pair, _FIRST_PAIRS)

    @property
    def seconds_per_pair(self) -> float:
        seconds, pairs = self._mean
        return seconds / pairs

    def observe(self, pairs: int, seconds: float) -> None:
        """Takes a finished search of `pairs` > 0 pairs into the averages, where large searches count for more."""
        mean_seconds, mean_pairs = self._mean
        self._mean = (mean_seconds + _MEMORY * (seconds - mean_seconds), mean_pairs + _MEMORY * (pairs - mean_pairs))


@dataclass(frozen=True)
class Deadline:
    """A moment by which a search should have ended.

    Attributes:
        at: in seconds of `time.perf_counter()`.
        pace: of the worker.
    """

    at: float
    pace: Pace

    def affordable(self) -> float:
        """Pairs that can still be scored in time; 0 or less where it has passed."""
        return (self.at - time.perf_counter()) / self.pace.seconds_per_pair
