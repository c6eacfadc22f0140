"""Finds entries of a change log by the time when they were made."""

from __future__ import annotations

from index_store.changes.change_log import ChangeLog


def last_before(log: ChangeLog, at: float, through: int) -> int:
    """Sequence number of the last entry up to `through` that was made before a time; of the last trimmed one, if none.

    Args:
        log: its entries are taken to be in the order of their times.
        at: in seconds since 1970.
        through: a sequence number of the log.

    Raises:
        ChangeLogError: the log cannot be read.
    """
    low, high = min(log.trimmed(), through), through
    while low < high:
        middle = (low + high + 1) // 2
        if log.read(middle - 1, 1)[0].at < at:
            low = middle
        else:
            high = middle - 1
    return low
