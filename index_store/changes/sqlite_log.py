"""The change log in a SQLite file, for the processes of one machine."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from index_store.changes import sqlite_file
from index_store.changes.change_log import (
    NEVER_CHANGED,
    PUT_BACK,
    RESTORE,
    STATEFUL,
    Change,
    ChangeLogError,
    KeyReusedError,
    Kind,
    TrimmedError,
    VersionConflictError,
    Write,
)
from index_store.changes.records import CAMPAIGN, Record, fingerprint, fingerprint_of_forget, json_text, left_of
from index_store.changes.sqlite_file import reported

_POLL_SECONDS = 0.01
_PAGE = 1_000
_TRIMMED_AT_ONCE = 1_000
_COLUMNS = "sequence, at, kind, id, fields, key, fingerprint"
_STATE = f"SELECT {_COLUMNS} FROM changes WHERE kind = ? AND id = ? ORDER BY sequence DESC LIMIT 1"
_STATES = f"""SELECT {_COLUMNS} FROM changes WHERE sequence IN (
    SELECT (SELECT max(sequence) FROM changes WHERE kind = ? AND changes.id = subject.value)
    FROM json_each(?) AS subject)"""
_IS_LAST = """sequence = (SELECT max(sequence) FROM changes AS other
                          WHERE other.kind = changes.kind AND other.id = changes.id)"""
_LAST_STATES = f"""SELECT {_COLUMNS} FROM changes WHERE kind = ? AND sequence > ? AND sequence <= ? AND {_IS_LAST}
                   ORDER BY sequence LIMIT ?"""
_TRIM = (f"""DELETE FROM changes WHERE sequence <= ? AND NOT (kind IN {tuple(map(str, STATEFUL))} AND {_IS_LAST})""",
         "UPDATE changes SET key = NULL, fingerprint = NULL WHERE sequence <= ? AND key IS NOT NULL",
         "UPDATE log SET trimmed = ?")
_TRIMMED = "SELECT trimmed FROM log"
_LAST = f"SELECT max((SELECT coalesce(max(sequence), {NEVER_CHANGED}) FROM changes), ({_TRIMMED}))"

_Row = tuple[int, float, str, str, str, str | None, str | None]


class SqliteLog:
    """A change log in one file; while it is open, `-wal` and `-shm` lie beside it and belong to it.

    Each append is one transaction. SQLite runs with a write-ahead log and `synchronous = FULL`: a commit returns after
    that log was flushed to the disk (fsync). An acknowledged change therefore survives a killed process, and a power
    failure too if the disk keeps what it has flushed. The processes share memory, so the file must be on a local disk.

    Threads may share an object: it has a connection that writes and one that reads, each behind a lock, so a reader
    does not wait for a writer. A process has to open its own; connections do not survive a fork.

    Args:
        path: of the file; created if there is none, in a folder that exists.
        index: says whose ads and users the log is about: a text that all bundles of one index have in common and no
            other index has. A new log is created with it and keeps it.

    Attributes:
        log_id: see ChangeLog.

    Raises:
        ChangeLogError: the file cannot be created or opened, is not a change log, has another format, or belongs to
            another index.
    """

    def __init__(self, path: Path, index: str) -> None:
        self.path, self.index = Path(path), index
        if not self.path.exists():
            sqlite_file.create(self.path, index)
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._reached = NEVER_CHANGED  # the last number that was seen
        with reported(self.path, "cannot be opened"):
            self._file, self._size = self._place()
            with ExitStack() as opened:
                self._writer, self._reader = (opened.enter_context(closing(sqlite_file.connect(self.path)))
                                              for _ in range(2))
                found, self.log_id = sqlite_file.names_of(self.path, self._reader)
                if found != index:
                    raise ChangeLogError(f"change log {self.path} belongs to index {found!r}, not {index!r}",
                                         "give each index a log of its own")
                opened.pop_all()

    def append(self, writes: Sequence[Write]) -> list[Change]:
        """See ChangeLog; fails too if other writers leave it no turn for ten seconds."""
        with self._transaction():
            changes = [self._write(index, write) for index, write in enumerate(writes)]
        self._reached = max(self._reached, *(change.sequence for change in changes), NEVER_CHANGED)
        return changes

    def forget(self, user_id: str, key: str | None = None) -> Change:
        """See ChangeLog. What is erased is overwritten, in `-wal` too unless a reader keeps it from being emptied."""
        with self._transaction():
            mark = None if key is None else fingerprint_of_forget(user_id)
            if first := self._first(0, key, mark):
                return first
            spent = self._writer.execute("SELECT fields, sequence FROM changes WHERE kind = ? AND id = ? AND "
                                         "json_extract(fields, ?) IS NOT NULL",
                                         (Kind.EVENT, user_id, f"$.{CAMPAIGN}")).fetchall()
            self._writer.execute("UPDATE changes SET kind = ?, id = '', fields = '{}', key = NULL, fingerprint = NULL "
                                 "WHERE kind IN (?, ?) AND id = ?", (Kind.ERASED, Kind.USER, Kind.EVENT, user_id))
            self._writer.executemany("UPDATE changes SET fields = ? WHERE sequence = ?", [
                (json_text(left_of(json.loads(fields))), sequence) for fields, sequence in spent])
            change = Change(sequence=self._last_written() + 1, at=time.time(), kind=Kind.FORGOTTEN, id=user_id,
                            fields={})
            self._insert(Record(change=change, key=key, fingerprint=mark))
        with self._writing, suppress(sqlite3.Error):  # it is durable already
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return change

    def read(self, after: int, most: int = 1_000) -> list[Change]:
        """See ChangeLog."""
        return [record.change for record in self.records(after, most)]

    def records(self, after: int, most: int = 1_000) -> list[Record]:
        """As `read`, with the idempotency keys."""
        rows = self._read(f"SELECT {_COLUMNS} FROM changes WHERE sequence > ? ORDER BY sequence LIMIT ?", after, most)
        if (trimmed := self.trimmed()) > after:
            raise TrimmedError(f"change log {self.path}", after, trimmed)
        for expected, row in enumerate(rows, start=after + 1):
            if row[0] != expected:
                raise ChangeLogError(f"change log {self.path}: change {expected} is missing, the next one is {row[0]}",
                                     RESTORE)
        if not rows:
            self._check_reached(after, self.last())
        return [self._record(row) for row in rows]

    def wait(self, after: int, seconds: float) -> bool:
        """See ChangeLog; asks for the last sequence number a hundred times a second."""
        until = time.monotonic() + seconds
        while (last := self.last()) <= after:
            self._check_reached(after, last)
            left = until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_SECONDS, left))
        return True

    def state(self, kind: Kind, subject: str) -> Change | None:
        """See ChangeLog."""
        rows = self._read(_STATE, kind, subject)
        return self._record(rows[0]).change if rows else None

    def states(self, kind: Kind, subjects: Collection[str]) -> dict[str, Change]:
        """See ChangeLog; one query."""
        found = [self._record(row).change for row in self._read(_STATES, kind, json_text(list(subjects)))]
        return {change.id: change for change in found}

    def last_states(self, kind: Kind, through: int) -> Iterator[Change]:
        """See ChangeLog."""
        after = NEVER_CHANGED
        while rows := self._read(_LAST_STATES, kind, after, through, _PAGE):
            yield from (self._record(row).change for row in rows)
            after = rows[-1][0]

    def trim(self, through: int) -> None:
        """See ChangeLog. The file keeps its size; later changes fill the space."""
        if through > (last := self.last()):
            raise ChangeLogError(f"change log {self.path} ends with change {last}, so it cannot be trimmed up to "
                                 f"{through}", "name the log of the index that the bundles belong to")
        while (trimmed := self.trimmed()) < through:
            with self._transaction():
                for statement in _TRIM:
                    self._writer.execute(statement, (min(trimmed + _TRIMMED_AT_ONCE, through),))

    def trimmed(self) -> int:
        """See ChangeLog."""
        trimmed: int = self._read(_TRIMMED)[0][0]
        return trimmed

    def last(self) -> int:
        """See ChangeLog."""
        reached, last = self._reached, self._read(_LAST)[0][0]
        self._check_reached(reached, last)
        self._reached = max(self._reached, last)
        return int(last)

    def close(self) -> None:
        """See ChangeLog."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def fill(self, records: Iterable[Record], log_id: str, trimmed: int = NEVER_CHANGED) -> None:
        """Fills an empty log with the records of another one.

        Args:
            records: in order; of those up to `trimmed` only last states.
            log_id, trimmed: of the other one.

        Raises:
            ChangeLogError: the log has changes, or cannot be written.
        """
        with self._transaction():
            if last := self._last_written():
                raise ChangeLogError(f"change log {self.path} has {last} changes already",
                                     "restore into an empty log only")
            for record in records:
                self._insert(record)
            self._writer.execute("UPDATE log SET id = ?, trimmed = ?", (log_id, trimmed))
        self.log_id = log_id

    def _read(self, query: str, *values: str | int) -> list[_Row]:
        with self._reading, reported(self.path, "cannot be read"):
            self._check_place()
            return self._reader.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing, reported(self.path, "cannot be written"):
            self._check_place()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                self._check_reached(self._reached, self._last_written())
                yield
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def _write(self, index: int, write: Write) -> Change:
        """Makes one write within the transaction."""
        mark = fingerprint(write)
        if first := self._first(index, write.key, mark):
            return first
        before = self._fields_before(index, write) if write.kind.has_state else {}
        fields = {**before, **write.fields, **write.noted}
        change = Change(sequence=self._last_written() + 1, at=time.time(), kind=write.kind, id=write.id, fields=fields)
        self._insert(Record(change=change, key=write.key, fingerprint=mark))
        return change

    def _first(self, index: int, key: str | None, mark: str | None) -> Change | None:
        """The change that was made for an idempotency key, if any."""
        if key is None:
            return None
        first = self._writer.execute(f"SELECT {_COLUMNS} FROM changes WHERE key = ?", (key,)).fetchone()
        if first and first[-1] != mark:
            raise KeyReusedError(index, key)
        return self._record(first).change if first else None

    def _fields_before(self, index: int, write: Write) -> Mapping[str, Any]:
        """The state before a write, which must have the version that it expects."""
        row = self._writer.execute(_STATE, (write.kind, write.id)).fetchone()
        before = self._record(row).change if row else None
        version = before.sequence if before else NEVER_CHANGED
        if write.if_version is not None and write.if_version != version:
            raise VersionConflictError(index, write, version)
        return before.fields if before else {}

    def _last_written(self) -> int:
        last: int = self._writer.execute(_LAST).fetchone()[0]
        return last

    def _insert(self, record: Record) -> None:
        change = record.change
        self._writer.execute(f"INSERT INTO changes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                             (change.sequence, change.at, change.kind, change.id, json_text(dict(change.fields)),
                              record.key, record.fingerprint))

    def _record(self, row: _Row) -> Record:
        sequence, at, kind, subject, fields, key, mark = row
        try:
            change = Change(sequence=sequence, at=at, kind=Kind(kind), id=subject, fields=json.loads(fields))
        except ValueError as error:
            raise ChangeLogError(f"change log {self.path}: change {sequence} of kind {kind!r} holds {fields[:80]!r}, "
                                 "which cannot be read", RESTORE) from error
        return Record(change=change, key=key, fingerprint=mark)

    def _place(self) -> tuple[tuple[int, int] | None, int]:
        """Device and inode, and bytes; a log never becomes smaller."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None, 0
        return (status.st_dev, status.st_ino), status.st_size

    def _check_place(self) -> None:
        """Others would never see what is written into a file that was moved away."""
        before = self._size
        file, size = self._place()
        self._size = max(before, size)
        if file != self._file or size < before:
            raise ChangeLogError(f"change log {self.path} was moved or replaced while it was open",
                                 f"{PUT_BACK}; stop them before you touch its file")

    def _check_reached(self, after: int, last: int) -> None:
        if last < after:
            raise ChangeLogError(f"change log {self.path} ends with change {last}, but {after} was read from it before",
                                 f"it was replaced by an older one: {PUT_BACK}")
