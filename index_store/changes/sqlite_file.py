"""The SQLite file of a change log: its schema, how it is created, opened and checked, and its errors."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from index_store.changes.change_log import NEWER, OLDER, RESTORE, ChangeLogError

APPLICATION_ID = 0x6D6F6E6E
"""Of SQLite's header: the file is a change log."""

FORMAT = 3
"""SQLite's `user_version`: the schema."""

_BUSY_SECONDS = 10.0
_SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE log (
    id TEXT NOT NULL,        -- random; a backup keeps it
    index_name TEXT NOT NULL,
    trimmed INTEGER NOT NULL DEFAULT 0  -- of the entries up to this number only last states are left
) STRICT;
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,        -- of the ad or user; empty if the entry was erased
    fields TEXT NOT NULL,    -- JSON: the whole state, or what the event says
    key TEXT,
    fingerprint TEXT        -- of the write with this key
) STRICT;
CREATE INDEX changes_of_id ON changes (kind, id, sequence);
CREATE UNIQUE INDEX change_of_key ON changes (key) WHERE key IS NOT NULL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on its disk",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable for the user of this process",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder readable and writable for the user of this process",
    sqlite3.SQLITE_BUSY: "end the process that keeps it locked, such as a sqlite3 shell within a transaction",
    sqlite3.SQLITE_CORRUPT: RESTORE,
    sqlite3.SQLITE_NOTADB: f"name a change log, or {RESTORE}",
}


def create(path: Path, index: str) -> None:
    """Makes an empty log of an index; one that another process has made meanwhile is left as it is.

    Raises:
        ChangeLogError: it cannot be written.
    """
    with (reported(path, "cannot be created"), suppress(FileExistsError), whole_file(path) as partial,
          closing(sqlite3.connect(partial, isolation_level=None)) as connection):
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO log (id, index_name) VALUES (?, ?)", (uuid.uuid4().hex, index))


def connect(path: Path) -> sqlite3.Connection:
    """A connection to an existing log, in autocommit mode; each commit is flushed to the disk.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS,
                                 isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
    return connection


def names_of(path: Path, connection: sqlite3.Connection) -> tuple[str, str]:
    """The index that a log belongs to, and its own id.

    Raises:
        ChangeLogError: the file is not a change log, or has a format that this version does not know.
        sqlite3.Error: it cannot be read.
    """
    application, = connection.execute("PRAGMA application_id").fetchone()
    found, = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise ChangeLogError(f"{path} is not a change log: its application id is {application:#x}, not "
                             f"{APPLICATION_ID:#x}", _REMEDIES[sqlite3.SQLITE_NOTADB])
    if found != FORMAT:
        raise ChangeLogError(f"change log {path} has format {found}, this version of the program reads format "
                             f"{FORMAT}", NEWER if found > FORMAT else OLDER)
    names: tuple[str, str] = connection.execute("SELECT index_name, id FROM log").fetchone()
    return names


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what lies there after the block gets its name in one step, and only then.

    Raises:
        FileExistsError: there is a file of that name by then; it stays.
        ChangeLogError: the `-wal` of another log lies beside it, which SQLite would take for a part of the new one.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        left_over = path.with_name(f"{path.name}-wal")
        if left_over.exists() and not path.exists():
            raise ChangeLogError(f"{left_over} is there, but not the change log that it belongs to",
                                 "put that log back beside it, or move it away if the log is lost")
        os.link(partial, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def reported(path: Path, what: str) -> Iterator[None]:
    """Turns errors of SQLite and of the file system into ChangeLogErrors, which say what could not be done."""
    try:
        yield
    except sqlite3.ProgrammingError as error:  # of the module, not of SQLite: it was closed
        raise ChangeLogError(f"change log {path} {what} ({error})", "open it again") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the primary code of an extended one
        raise ChangeLogError(f"change log {path} {what} ({error})",
                             _REMEDIES.get(code, "look at the disk and the log of the system")) from error
    except OSError as error:
        raise ChangeLogError(f"change log {path} {what} ({error.strerror})",
                             "name a file in a folder that exists and that the user of this process may write to"
                             ) from error
