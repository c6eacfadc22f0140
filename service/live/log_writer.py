"""The log writer of a worker: uses the change log off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from index_store.changes.change_log import NEVER_CHANGED, Change, ChangeLogError, TrimmedError
from index_store.changes.group_commit import GroupCommit
from service.contract.errors import ErrorType, ServiceError
from service.live.shared_log import SharedLog

_THREADS = 8
"""Calls that use the log at the same time; what they append together is flushed once."""

_MOST_WAITING = 256
"""Calls that may wait for a thread."""

_Result = TypeVar("_Result")


class RefusedWriteError(Exception):
    """A write is refused, and with it all that came along; nothing was written.

    Attributes:
        index: of the write in its sequence.
        refusal: the reason.
    """

    def __init__(self, index: int, refusal: ServiceError) -> None:
        super().__init__(refusal.message)
        self.index, self.refusal = index, refusal


class LogWriter:
    """The change log for all calls of a worker, in threads of its own.

    Args:
        log: stays the caller's to close.

    Attributes:
        existing, opened: of the log, see SharedLog.
    """

    def __init__(self, log: SharedLog) -> None:
        self.existing, self.opened = log.existing, log.opened
        self._grouping = threading.Lock()
        self._group: GroupCommit | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "log-writer")
        self._waiting = 0

    async def in_thread(self, work: Callable[[], _Result]) -> _Result:
        """The result of work that uses the log.

        Raises:
            ServiceError: `change_log_unavailable` if the log fails, `changes_trimmed` if it no longer has what is asked
                for, `overloaded` if too many calls wait.
        """
        if self._waiting >= _MOST_WAITING:
            raise ServiceError(ErrorType.OVERLOADED, f"{self._waiting} calls that use the change log wait for this "
                               "worker already, the most it allows", "try again after the Retry-After header's time",
                               retry_after=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TrimmedError as error:
            raise ServiceError(ErrorType.CHANGES_TRIMMED, f"the changes up to {error.trimmed} were removed, those "
                               f"after {error.after} are asked for", f"read on after {error.trimmed}; every bundle "
                               "includes what came before") from error
        except ChangeLogError as error:
            raise ServiceError(ErrorType.CHANGE_LOG_UNAVAILABLE, error.fact, error.remedy, retry_after=1) from error
        finally:
            self._waiting -= 1

    async def changes(self, after: int, most: int) -> tuple[list[Change], int]:
        """Some changes after a sequence number, and the last sequence number of all; raises as `in_thread`."""
        def read() -> tuple[list[Change], int]:
            log = self.existing()
            if log is None:
                return [], NEVER_CHANGED
            last = log.last()
            return (log.read(after, most) if after < last else []), last

        return await self.in_thread(read)

    def group(self) -> GroupCommit:
        """Appends to the log together with other calls. This blocks."""
        log = self.opened()
        with self._grouping:
            if self._group is None:
                self._group = GroupCommit(log)
            return self._group

    def close(self) -> None:
        """Waits for what is being written."""
        self._threads.shutdown()
        if self._group is not None:
            self._group.close()


def key_reused(error: Exception) -> ServiceError:
    """The reply to a write whose idempotency key was used for another one."""
    return ServiceError(ErrorType.KEY_REUSED, str(error), "use a new key for each write, and the same one to repeat it")
