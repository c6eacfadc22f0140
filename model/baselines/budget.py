"""Time and memory that a baseline may take."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path


class SkippedError(Exception):
    """A baseline that is not fitted; the message is the reason, in a few words."""


@dataclass
class Budget:
    """Seconds from the moment that it is made.

    Attributes:
        seconds: infinite by default.
        began: an earlier moment, by `time.monotonic`.
    """

    seconds: float = math.inf
    began: float = field(default_factory=time.monotonic)

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.seconds < math.inf

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds that are left, 0 once they are spent."""
        return max(0.0, self.seconds - self.spent)

    def need(self, seconds: float) -> None:
        """Raises SkippedError if an expected number of seconds is no longer left."""
        if seconds > self.left:
            raise SkippedError(f"it takes about {max(1, round(seconds)):,} s, and {self.left:.0f} s of the time for "
                          "baselines are left")


@dataclass
class Pace:
    """Whether there is time for one more of several fits that take about as long as those so far.

    Attributes:
        budget: of all of them.
        reserve: further fits that have to follow in the same time.
    """

    budget: Budget
    reserve: int = 1
    _began: float = field(default_factory=time.monotonic)
    _done: int = 0

    def more(self) -> bool:
        """To be asked after each fit."""
        self._done += 1
        each = (time.monotonic() - self._began) / self._done
        return each * (1 + self.reserve) <= self.budget.left


def need_memory(bytes_needed: int) -> None:
    """Raises SkippedError if less memory is free; assumes enough where the system does not say."""
    free = free_memory()
    if bytes_needed > free:
        raise SkippedError(f"it needs {bytes_needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free")


def free_memory(source: Path = Path("/proc/meminfo")) -> float:
    """Bytes that can be allocated without swapping, infinite where it cannot be read."""
    try:
        lines = dict(line.split(":", 1) for line in source.read_text().splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return math.inf
