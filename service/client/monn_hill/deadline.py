"""The time that a call has, with all its tries and pauses."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Deadline:
    """Some seconds from now.

    Args:
        seconds: above 0.
        now: clock, in seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"timeout is {seconds!r}; give seconds above 0")
        self.seconds = seconds
        self._now, self._end = now, now() + seconds

    @property
    def left(self) -> float:
        """Seconds; below 0 once it has passed."""
        return self._end - self._now()
