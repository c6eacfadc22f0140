"""The way of one search to a search thread: the interface between the retriever and whoever queues for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeVar

Result = TypeVar("Result")


class Turn:
    """A search's way through a queue. This one waits for nothing and has no deadline.

    Attributes:
        answer_by: deadline of the request, in seconds of `time.perf_counter()`; None for none.
        search_by: when the search must have ended, in seconds of `time.perf_counter()`; None for no deadline.
        coverage: of the search that `run` has done.
    """

    answer_by: float | None = None
    search_by: float | None = None
    coverage: float = 1.0

    def run(self, search: Callable[[], Result]) -> Result:
        """Searches, in a search thread."""
        return search()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
