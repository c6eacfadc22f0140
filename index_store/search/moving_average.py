"""Moving average: an exponentially weighted mean that follows a changing measurement."""

from __future__ import annotations


class MovingAverage:
    """An exponentially weighted mean of numbers, and their mean absolute deviation from it. Not thread-safe.

    Args:
        newest: share of the newest number, from 0 to 1; about 1 / newest numbers make up the mean.
        start: the mean before the first number. None lets the first numbers count alike, as in a plain mean, so that
            an odd first one is soon outweighed.

    Attributes:
        mean: 0 before the first number if there is no start.
        deviation: 0 before the second number.
        count: numbers observed.
    """

    def __init__(self, newest: float, start: float | None = None) -> None:
        self._newest, self._plain_at_first = newest, start is None
        self.mean, self.deviation, self.count = start or 0.0, 0.0, 0

    def observe(self, value: float) -> None:
        self.count += 1
        share = max(self._newest, 1 / self.count) if self._plain_at_first else self._newest
        error = value - self.mean
        self.mean += share * error
        if self.count > 1:
            self.deviation += share * (abs(error) - self.deviation)
