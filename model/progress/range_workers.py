"""Who computes ranges: this process one after the other, or, where it is given others, they several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from model.progress.ranges import Range

T = TypeVar("T")

Done = Callable[[int], object]
"""Told of work that is done, in the unit of a bar."""


def unheard(units: int) -> None:
    """For work without a bar of its own."""


@dataclass(frozen=True)
class Worker:
    """What a computation may know of where it runs.

    Attributes:
        threads: that it may use.
        done: to be told while a range is computed, by the thread that computes it.
    """

    threads: int
    done: Done


Work = Callable[[Range, Worker], T]
"""The result of a range. It may be copied to other processes, so it is an object of a module and no closure."""


class RangeWorkers:
    """This process, with a thread for each core."""

    def results(self, work: Work[T], ranges: Sequence[Range], done: Done = unheard) -> Iterator[T]:
        """The results of ranges, in their order, each computed when it is asked for.

        Args:
            work: of a range, which depends on no other one.
            ranges: to compute.
            done: told of what is done, in this thread.
        """
        here = Worker(os.cpu_count() or 1, done)
        return (work(own, here) for own in ranges)


HERE = RangeWorkers()
