"""The follower: a thread of each worker that applies the change log to the snapshots of its open bundles."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from index_store.changes.change_log import PUT_BACK, Change, ChangeLog, ChangeLogError, Kind, TrimmedError
from index_store.live.snapshot import Snapshot
from service.live.applied import applied_by_others, publish
from service.live.budget_metrics import publish_budgets
from service.live.included import check_goes_on, check_includes
from service.live.lately import lately
from service.live.shared_log import SharedLog
from service.telemetry import metrics
from service.telemetry.request_log import log

_WAIT_SECONDS = 0.5
"""Longest wait for a change; then it looks whether it was closed."""

_POLL_SECONDS = 0.05
"""Between two looks for a log that nobody has written to yet."""

_PAUSE_SECONDS = 0.5
"""After a failure."""

_END_SECONDS = 2.0
"""Longest wait for the end of the thread; one that a dead server keeps waiting ends with the process."""


class Followed(Protocol):
    """What has a snapshot that follows the log; requests read it at any time."""

    snapshot: Snapshot


class Follower:
    """Applies each batch of changes to all that is followed.

    A log that cannot be read, or that is no longer the one that was applied, changes nothing: requests are answered
    from the last snapshots, the failure is logged once and shown by a metric, and the next try comes after a pause.

    Args:
        log: stays the caller's to close.
        close_budgets: whether campaigns with budgets hold their ads back while the log cannot be read.
    """

    def __init__(self, log: SharedLog, close_budgets: bool = False) -> None:
        self._log, self._close_budgets = log, close_budgets
        self._last: Change | None = None  # that was read
        self._changing = threading.Lock()
        self._followed: list[Followed] = []
        self._closed = threading.Event()
        self._problem: str | None = None
        self._unfit: frozenset[str] = frozenset()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def add(self, followed: Followed, log_id: str = "") -> None:
        """Replays the log from where the bundle ends, and follows it from then on. This blocks, and is thread-safe.

        Args:
            followed: a bundle.
            log_id: of the change log that it includes changes of; empty if it is not known.

        Raises:
            ChangeLogError: the log cannot be read, or does not fit to the bundle; nothing is followed then.
        """
        self._begin(followed, log_id)
        self._replay(followed)
        followed.snapshot.arrivals.prepare()
        with self._changing:
            self._replay(followed)  # what has come meanwhile
            self._followed.append(followed)
            self._publish()
            if self._thread.ident is None:
                self._thread.start()

    def remove(self, followed: Followed) -> None:
        """Follows it no longer."""
        with self._changing:
            self._followed = [other for other in self._followed if other is not followed]

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
                self._note(None)
            except Exception as error:  # whatever it is, the worker goes on with what it has
                self._note(f"{type(error).__name__}: {error}")
                self._closed.wait(_PAUSE_SECONDS)

    def _follow(self) -> None:
        """Applies the next changes, or waits for some."""
        opened = self._log.existing()
        if opened is None or not self._followed:
            self._closed.wait(_POLL_SECONDS)
            return
        after = self._as_of
        if not opened.wait(after, _WAIT_SECONDS) or self._closed.is_set():
            return
        changes = self._next(opened, after)
        with self._changing:
            for followed in self._followed:
                followed.snapshot = followed.snapshot.with_changes(changes)
            self._publish()

    def _next(self, opened: ChangeLog, after: int) -> list[Change]:
        """The changes that follow the last one that was applied, which must be the one that it was.

        The numbers alone would not tell: a log that was replaced by a backup of it gives the same ones again.
        """
        last = self._last
        try:
            if last is None or last.sequence != after:
                changes = opened.read(after)
            else:
                same, *changes = opened.read(after - 1)
                if same.at != last.at:
                    raise ChangeLogError(f"change {after} of the log was made at {same.at}, but the one that was "
                                         f"applied at {last.at}", f"the log was replaced by another one: {PUT_BACK}")
        except TrimmedError:  # the last one, which every bundle includes
            changes = opened.read(after)
        self._last = changes[-1] if changes else last
        return changes

    def _begin(self, followed: Followed, log_id: str) -> None:
        """Takes over what the log says and a bundle does not hold of what it includes: statuses, and spending."""
        opened, included = self._log.existing(), followed.snapshot.as_of
        check_includes(opened, included, log_id)
        check_goes_on(opened, applied_by_others())
        if opened is not None and included:
            followed.snapshot = followed.snapshot.with_statuses(opened.last_states(Kind.AD, included))
            for changes in lately(opened, included, time.time()):
                followed.snapshot = followed.snapshot.with_campaigns(changes)

    def _replay(self, followed: Followed) -> None:
        opened = self._log.existing()
        while opened is not None and (changes := self._next(opened, followed.snapshot.as_of)):
            followed.snapshot = followed.snapshot.with_changes(changes)

    @property
    def _as_of(self) -> int:
        """The last change that all snapshots include."""
        return min(followed.snapshot.as_of for followed in self._followed)

    def _publish(self) -> None:
        if not self._followed:
            return
        try:
            self._measure(max((followed.snapshot for followed in self._followed), key=lambda snapshot: snapshot.as_of))
        finally:
            publish(self._as_of)  # last: who waits for a change reads the others next

    def _measure(self, newest: Snapshot) -> None:
        metrics.ADS_WITHDRAWN.set(newest.n_withdrawn)
        metrics.ADS_ADDED.set(newest.n_added)
        metrics.LIVE_HISTORIES.set(newest.users.histories.count)
        if newest.gates is not None:
            publish_budgets(newest.gates)
        if newest.unfit.keys() - self._unfit:
            ad_id, reason = next(item for item in newest.unfit.items() if item[0] not in self._unfit)
            log("ads_unfit", ads=len(newest.unfit), ad_id=ad_id, reason=reason)
        self._unfit = frozenset(newest.unfit)
        metrics.ADS_UNFIT.set(len(self._unfit))

    def _note(self, problem: str | None) -> None:
        """Logs a failure when it begins, when it becomes another one, and when it ends."""
        if problem != self._problem:
            if (problem is None) != (self._problem is None):
                self._mark(None if problem is None else time.time())
            if problem is None:
                log("changes_readable")
            else:
                log("changes_unreadable", reason=problem)
            metrics.CHANGES_UNREADABLE.set(0 if problem is None else 1)
        self._problem = problem

    def _mark(self, unread_since: float | None) -> None:
        """Says in all snapshots since when the log cannot be read; None: it can."""
        with self._changing:
            for followed in self._followed:
                followed.snapshot = followed.snapshot.without_log(unread_since, self._close_budgets)
