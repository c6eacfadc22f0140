"""The ad writer of a worker: checks what callers ask for against the change log, and appends it, off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from index_store.changes.change_log import (
    NEVER_CHANGED,
    Change,
    ChangeLog,
    ChangeLogError,
    KeyReusedError,
    Kind,
    VersionConflictError,
    Write,
)
from index_store.changes.group_commit import GroupCommit
from index_store.live.snapshot import STATUS, status_of
from index_store.live.withdrawals import Status
from service.contract.errors import ErrorType, ServiceError, ad_not_found, shown
from service.live.log_place import LogPlace

_THREADS = 8
"""Calls that use the log at the same time; what they append together is flushed once."""

_MOST_WAITING = 256
"""Calls that may wait for a thread."""

_TRIES = 8
"""Of an append whose ads others change between the check and the append."""

_NO_VERSION = -1
"""A version that no ad has: lets through only what repeats an earlier write, by its idempotency key."""

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


class AdWriter:
    """Reads and appends to the change log, in threads of its own.

    All methods raise ServiceError: `change_log_unavailable` if the log fails, `overloaded` if too many calls wait.

    Args:
        place: of the log.
    """

    def __init__(self, place: LogPlace) -> None:
        self._place = place
        self._opening = threading.Lock()
        self._log: ChangeLog | None = None
        self._group: GroupCommit | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "ad-writer")
        self._waiting = 0

    async def append(self, writes: Sequence[Write], knows: Callable[[str], bool]) -> list[Change]:
        """Writes all or none; returns once they are durable.

        Args:
            writes: each sets a status.
            knows: whether the bundle has an ad.

        Raises:
            RefusedWriteError: the first write that cannot be made.
        """
        return await self._in_thread(lambda: self._append(writes, knows))

    async def state(self, ad_id: str) -> Change | None:
        """The last change of an ad; None if it was never changed."""
        return await self._in_thread(lambda: None if (log := self._existing()) is None else log.state(Kind.AD, ad_id))

    async def changes(self, after: int, most: int) -> tuple[list[Change], int]:
        """Some changes after a sequence number, and the last sequence number of all."""
        def read() -> tuple[list[Change], int]:
            log = self._existing()
            if log is None:
                return [], NEVER_CHANGED
            last = log.last()
            return (log.read(after, most) if after < last else []), last

        return await self._in_thread(read)

    def close(self) -> None:
        """Waits for what is being written, and closes the log."""
        self._threads.shutdown()
        if self._group is not None:
            self._group.close()
        if self._log is not None:
            self._log.close()

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= _MOST_WAITING:
            raise ServiceError(ErrorType.OVERLOADED, f"{self._waiting} calls about ads wait for this worker already, "
                               "the most it allows", "try again after the Retry-After header's time", retry_after=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except ChangeLogError as error:
            raise ServiceError(ErrorType.CHANGE_LOG_UNAVAILABLE, error.fact, error.remedy, retry_after=1) from error
        finally:
            self._waiting -= 1

    def _append(self, writes: Sequence[Write], knows: Callable[[str], bool]) -> list[Change]:
        for _ in range(_TRIES):
            checked = self._checked(self._existing(), writes, knows)
            try:
                return self._opened_group().append(checked)
            except KeyReusedError as error:
                raise RefusedWriteError(error.index, ServiceError(
                    ErrorType.KEY_REUSED, str(error), "use a new key for each write, and the same one to repeat it")
                ) from error
            except VersionConflictError as error:
                if error.expected == _NO_VERSION:
                    raise RefusedWriteError(error.index, _deleted(error.id, error.found)) from error
                if writes[error.index].if_version is not None:
                    raise RefusedWriteError(error.index, ServiceError(
                        ErrorType.VERSION_CONFLICT, f"ad {shown(error.id)} has version {error.found}, if_version is "
                        f"{error.expected}", "look at the ad, and write again with its version if that is still right")
                    ) from error
                # Someone else has changed the ad since the check, which therefore counts for nothing.
        raise ServiceError(ErrorType.OVERLOADED, f"others change the same ads: {_TRIES} tries to write were overtaken",
                           "try again after the Retry-After header's time", retry_after=1)

    def _checked(self, log: ChangeLog | None, writes: Sequence[Write],
                 knows: Callable[[str], bool]) -> list[Write]:
        """The writes, each bound to the version of its ad that was checked: another one would have to be checked anew.

        Raises:
            RefusedWriteError: an ad is unknown, or deleted.
        """
        states = {} if log is None else log.states(Kind.AD, {write.id for write in writes})
        status: dict[str, Status] = {}
        checked = []
        for index, write in enumerate(writes):
            ad_id, expected, version = write.id, write.if_version, None
            if ad_id not in status:
                state = states.get(ad_id)
                if state is None and not knows(ad_id):
                    raise RefusedWriteError(index, ad_not_found(ad_id))
                status[ad_id] = status_of(state)
                version = NEVER_CHANGED if state is None else state.sequence
                expected = version if expected is None else expected
            to = Status(write.fields[STATUS])
            if status[ad_id] is not Status.DELETED:
                status[ad_id] = to
            elif to is not Status.DELETED:
                if write.key is None:
                    raise RefusedWriteError(index, _deleted(ad_id, version))
                expected = _NO_VERSION
            checked.append(replace(write, if_version=expected))
        return checked

    def _existing(self) -> ChangeLog | None:
        """The log; None if nobody has written to it yet."""
        return self._opened() if self._log is not None or self._place.exists() else None

    def _opened(self) -> ChangeLog:
        with self._opening:
            if self._log is None:
                self._log = self._place.open()
            return self._log

    def _opened_group(self) -> GroupCommit:
        log = self._opened()
        with self._opening:
            if self._group is None:
                self._group = GroupCommit(log)
            return self._group


def _deleted(ad_id: str, version: int | None) -> ServiceError:
    since = "by the same batch" if version is None else f"since version {version}"
    return ServiceError(ErrorType.AD_DELETED, f"ad {shown(ad_id)} is deleted, {since}",
                        "a deleted ad stays deleted; pause an ad that is to come back")
