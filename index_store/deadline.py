"""Time as a search sees it: how many pairs still fit before a deadline, by the pace of earlier searches."""

from __future__ import annotations

import time
from dataclasses import dataclass

_MEMORY = 0.05
"""Share of the newest search in the pace; about twenty searches make it up."""


class Pace:
    """Seconds that a pair costs a search, all of its overhead included: a moving average that each worker keeps.

    Args:
        seconds_per_pair: first guess, before any search was timed.
    """

    def __init__(self, seconds_per_pair: float = 2e-6) -> None:
        self.seconds_per_pair = seconds_per_pair

    def observe(self, pairs: int, seconds: float) -> None:
        """Takes a finished search of `pairs` > 0 pairs into the average."""
        self.seconds_per_pair += _MEMORY * (seconds / pairs - self.seconds_per_pair)


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
