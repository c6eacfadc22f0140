"""Windows cut out of the change log, by the number of events or by time.

What a window holds depends on the log alone, not on when it is read: a follower that was down cuts the same windows
later.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from index_store.changes.change_log import Change, ChangeLog, Kind
from index_store.changes.open_log import is_redis, open_existing_log
from model.data.tables import read_spec
from model.data.windows import Window
from model.follow.gathering import Gathering
from model.progress.bars import Bar

_PAGE = 1_000
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class NextWindow:
    """A window that is full.

    Attributes:
        window: its tables.
        sequence: its last entry.
        ended_at: when it ended, in seconds since 1970.
        change_log_id: of the change log that it was cut from; empty if it comes from elsewhere.
    """

    window: Window
    sequence: int
    ended_at: float
    change_log_id: str = ""


@dataclass(frozen=True, kw_only=True)
class LogWindows:
    """Cuts windows out of a change log.

    Attributes:
        where: path of a SQLite file, or URL of a Redis; a file that is not there yet is an empty log.
        events: of a window; None for any number.
        seconds: that a window spans; one without events is extended by as many. None for any time.
        once: whether a window ends with the log, instead of waiting until it is full.
    """

    where: str
    events: int | None
    seconds: float | None
    once: bool

    def next(self, after: int, since: float, log: Path) -> NextWindow | None:
        """The window that follows an entry; blocks until it is full.

        Args:
            after: sequence number of the last entry before it.
            since: when the window before it ended, 0 for the time of its first entry.
            log: data folder of everything before it.

        Returns:
            None with `once` if the log has no event after that entry.

        Raises:
            ChangeLogError: the log cannot be read.
            DataError: the data folder does not fit events of the change log.
        """
        while not is_redis(self.where) and not Path(self.where).exists():
            if self.once:
                return None
            time.sleep(_WAIT_SECONDS)
        cut = _Cut(self, Gathering(log, read_spec(log)), after, since)
        with (closing(open_existing_log(self.where, None)) as opened,
              Bar(desc="window", unit="entry", unit_scale=True, leave=None) as bar):
            while not cut.full:
                page = opened.read(cut.sequence, _PAGE)
                cut.take(page)
                bar.update(len(page))
                bar.set_postfix(events=cut.gathering.events)
                if not page and not self._goes_on(opened, cut):
                    break
        if not cut.gathering.events:
            return None
        return NextWindow(window=cut.gathering.window(), sequence=cut.sequence, ended_at=cut.ended_at,
                          change_log_id=opened.log_id)

    def _goes_on(self, opened: ChangeLog, cut: _Cut) -> bool:
        """Waits for more entries; False if the window ends without."""
        if self.once or cut.expired(time.time()):
            return False
        opened.wait(cut.sequence, _WAIT_SECONDS)
        return True


class _Cut:
    """A window while it is cut.

    Attributes:
        gathering: its entries.
        sequence: the last one.
        full: whether it takes no more.
        ended_at: when it ended.
    """

    def __init__(self, size: LogWindows, gathering: Gathering, after: int, since: float) -> None:
        self._size, self._since = size, since
        self.gathering, self.sequence, self.full, self.ended_at = gathering, after, False, since

    def take(self, changes: list[Change]) -> None:
        """Takes the next entries, up to the end of the window."""
        for change in changes:
            if self._since == 0:
                self._since = change.at
            if self.expired(change.at):
                self.full = True
                return
            self.gathering.add([change])
            self.sequence, self.ended_at = change.sequence, change.at
            if change.kind is Kind.EVENT and self.gathering.events == self._size.events:
                self.full = True
                return

    def expired(self, now: float) -> bool:
        """Whether the window's time is over and it has events."""
        if self._size.seconds is None or self._since == 0 or now < self._end:
            return False
        if not self.gathering.events:
            self._since += (now - self._since) // self._size.seconds * self._size.seconds
            return False
        self.ended_at = self._end
        return True

    @property
    def _end(self) -> float:
        return self._since + (self._size.seconds or 0.0)
