"""The change log of a worker: opened when it is needed, and shared by all that read and write it.

What one of them has seen of the log the others expect too: once the follower has noticed that the log was replaced by
an older one, writers are refused.
"""

from __future__ import annotations

import threading

from index_store.changes.change_log import ChangeLog
from service.live.log_place import LogPlace


class SharedLog:
    """Opens a log once; all methods block and are thread-safe.

    Args:
        place: of the log.
    """

    def __init__(self, place: LogPlace) -> None:
        self._place = place
        self._opening = threading.Lock()
        self._log: ChangeLog | None = None

    def existing(self) -> ChangeLog | None:
        """The log; None if nobody has written to it yet.

        Raises:
            ChangeLogError: it cannot be opened.
        """
        return self.opened() if self._log is not None or self._place.exists() else None

    def opened(self) -> ChangeLog:
        """The log, which is made if there is none; raises as `existing`."""
        with self._opening:
            if self._log is None:
                self._log = self._place.open()
            return self._log

    def close(self) -> None:
        """Closes the log."""
        if self._log is not None:
            self._log.close()
