"""Back up a change log into a SQLite file, and restore it from one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from index_store.changes.change_log import STATEFUL, ChangeLogError
from index_store.changes.open_log import is_redis, open_existing_log
from index_store.changes.records import Record
from index_store.changes.redis_log import RedisLog
from index_store.changes.sqlite_file import reported, whole_file
from index_store.changes.sqlite_log import SqliteLog

_PAGE = 1_000


def back_up(log: SqliteLog | RedisLog, file: Path) -> int:
    """Writes a change log, as it is at the start, into a SQLite log that can itself be opened.

    The log may be written to meanwhile. Its id, sequence numbers, times and
    idempotency keys stay.

    Args:
        log: to read from.
        file: new; it is there only once it is complete.

    Returns:
        The number of changes.

    Raises:
        ChangeLogError: the file exists or cannot be written, or the log cannot be read.
    """
    if file.exists():
        raise ChangeLogError(f"{file} exists already", "choose another name, or move it away")
    with reported(file, "cannot be written"), whole_file(file) as partial, \
            closing(SqliteLog(partial, log.index)) as copy:
        trimmed = log.trimmed()
        copy.fill(_records(log, trimmed), log.log_id, trimmed)
        return copy.last()


def restore(file: Path, where: str) -> int:
    """Makes a change log out of a backup.

    Args:
        file: written by `back_up`.
        where: path of a new SQLite log, or URL of a Redis without a log of that index. It can be used only once it is
            complete.

    Returns:
        The number of changes.

    Raises:
        ChangeLogError: the backup cannot be read, or there is a log already, or it cannot be written.
    """
    with closing(open_existing_log(str(file), None)) as backup:
        if not is_redis(where):
            return back_up(backup, Path(where))
        with closing(RedisLog(where, backup.index)) as log:
            trimmed = backup.trimmed()
            log.fill(_records(backup, trimmed), backup.log_id, trimmed)
            return log.last()


def _records(log: SqliteLog | RedisLog, trimmed: int) -> Iterator[Record]:
    """The records of a log up to what is its last one now; of those that were trimmed the last states.

    The states are read first: one that is replaced meanwhile is among the records then.
    """
    states = [state for kind in STATEFUL for state in log.last_states(kind, trimmed)]
    yield from (Record(change=state) for state in sorted(states, key=lambda state: state.sequence))
    after, last = trimmed, log.last()
    while after < last:
        page = log.records(after, min(_PAGE, last - after))
        yield from page
        after = page[-1].change.sequence
