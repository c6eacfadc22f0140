"""Open a change log by its path or URL."""

from __future__ import annotations

import re
from pathlib import Path

from index_store.changes.change_log import ChangeLogError
from index_store.changes.redis_log import RedisLog
from index_store.changes.redis_server import SCHEMES, URLS
from index_store.changes.sqlite_log import SqliteLog


def open_log(where: str, index: str) -> SqliteLog | RedisLog:
    """Opens the change log of an index, or makes a new one.

    Args:
        where: path of a SQLite file, or URL of a Redis.
        index: see SqliteLog.

    Raises:
        ChangeLogError: it is neither, or the log cannot be used. The message never quotes a URL, which may hold a
            password.
    """
    scheme = scheme_of(where)
    if scheme in SCHEMES:
        return RedisLog(where, index)
    if scheme:
        raise ChangeLogError(f"a change log cannot be opened at {scheme}:", f"give the path of a file, or {URLS}")
    if not where or Path(where).is_dir():
        raise ChangeLogError(f"a change log is a file, and {where!r} is none", "give a path such as /data/changes.db")
    return SqliteLog(Path(where), index)


def scheme_of(where: str) -> str | None:
    """What stands before the colon of a URL; None for a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", where)
    return found.group(1) if found else None
