"""The interface between the retriever and the queue in which its searches wait for a search thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar


class TimedSearch(Protocol):
    """A finished search as a queue sees it.

    Attributes:
        began, ended: when the search thread took it up and was done with it, in seconds of `time.perf_counter()`.
        coverage: share of the work that was done; below 1 where a deadline narrowed the search.
    """

    @property
    def began(self) -> float: ...

    @property
    def ended(self) -> float: ...

    @property
    def coverage(self) -> float: ...


Timed = TypeVar("Timed", bound=TimedSearch)


class DeadlinePassedError(Exception):
    """The deadline of a search had already passed when a thread started on it."""


class SearchQueue(Protocol):
    """Decides when a search may run."""

    async def run(self, search: Callable[[float | None], Awaitable[Timed]]) -> Timed:
        """Waits for the search's turn and runs it.

        Args:
            search: is given the time at which it must end, in seconds of `time.perf_counter()`; None for no deadline.
                It raises DeadlinePassedError where it starts too late.
        """
        ...


class NoQueue:
    """Runs every search at once and without a deadline, for callers without load."""

    async def run(self, search: Callable[[float | None], Awaitable[Timed]]) -> Timed:
        return await search(None)
