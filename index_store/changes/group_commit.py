"""Group commit: concurrent appends of the threads of a process become one transaction.

A flush to the disk takes as long for many changes as for one. While one group is being written, the appends that arrive
wait and make up the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate

from index_store.changes.change_log import (
    Change,
    ChangeLog,
    ChangeLogError,
    KeyReusedError,
    VersionConflictError,
    Write,
)

_GROUP = 1_000
"""Writes of a group, which a single larger call may exceed: a longer one saves little, and Redis serves nobody else
during an append."""


class GroupCommit:
    """Appends to a log for many threads, each of which fares as if it had called the log itself.

    Args:
        log: to append to, in a thread of this object; it stays the caller's to close.
    """

    def __init__(self, log: ChangeLog) -> None:
        self._log = log
        self._waiting: list[_Call] = []
        self._lock = threading.Lock()
        self._writer = ThreadPoolExecutor(1, "change-log")

    def append(self, writes: Sequence[Write]) -> list[Change]:
        """As ChangeLog.append: all of these writes or none of them."""
        call = _Call(writes)
        with self._lock:
            if not self._waiting:  # otherwise the run that takes the first of them will come to this one too
                self._writer.submit(self._commit_waiting)
            self._waiting.append(call)
        return call.outcome.result()

    def close(self) -> None:
        """Ends the thread, after what was appended; the log stays open."""
        self._writer.shutdown()

    def _commit_waiting(self) -> None:
        while group := self._take():
            self._commit(group)

    def _take(self) -> list[_Call]:
        """Takes the calls that wait, in order, as many as make up a group; one at least, if there is any."""
        with self._lock:
            sizes = accumulate(len(call.writes) for call in self._waiting)
            most = max(1, sum(size <= _GROUP for size in sizes))
            group, self._waiting = self._waiting[:most], self._waiting[most:]
        return group

    def _commit(self, group: list[_Call]) -> None:
        """Appends for a group at once; a call that cannot be made is taken out, and then made by itself."""
        apart = []
        while len(group) > 1:
            try:
                changes = iter(self._log.append([write for call in group for write in call.writes]))
            except (VersionConflictError, KeyReusedError) as error:
                apart.append(group.pop(_position(group, error.index)))
            except ChangeLogError as error:
                for call in group:
                    call.outcome.set_exception(error)
                break
            except Exception:  # such as a value that is not JSON: one caller's mistake, but whose?
                break
            else:
                for call in group:
                    call.outcome.set_result([next(changes) for _ in call.writes])
                break
        for call in (*group, *apart):
            if not call.outcome.done():
                self._commit_alone(call)

    def _commit_alone(self, call: _Call) -> None:
        try:
            call.outcome.set_result(self._log.append(call.writes))
        except Exception as error:
            call.outcome.set_exception(error)


class _Call:
    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes
        self.outcome: Future[list[Change]] = Future()


def _position(group: list[_Call], index: int) -> int:
    """Which call of a group holds the write at an index of all its writes."""
    for position, call in enumerate(group):
        if index < len(call.writes):
            return position
        index -= len(call.writes)
    raise IndexError(index)
