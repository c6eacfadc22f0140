"""Open a change log by its path or URL."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from index_store.changes import redis_server, sqlite_file
from index_store.changes.change_log import ChangeLogError
from index_store.changes.redis_log import RedisLog
from index_store.changes.redis_script import INDEXES
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
    return RedisLog(where, index) if is_redis(where) else SqliteLog(Path(where), index)


def open_existing_log(where: str, index: str | None) -> SqliteLog | RedisLog:
    """Opens a change log that is there.

    Args:
        where: as for `open_log`.
        index: None for the only one that has a log there.

    Raises:
        ChangeLogError: there is no such log, or there are several to choose from; or as for `open_log`.
    """
    place, found = _indexes(where)
    if not found:
        raise ChangeLogError(f"there is no change log at {place}", "look at the path, or at the URL and its database")
    if index is None and len(found) > 1:
        raise ChangeLogError(f"there are change logs of {len(found)} indexes at {place}: {', '.join(found)}",
                             "say which with --index")
    if index is not None and index not in found:
        raise ChangeLogError(f"there is no change log of index {index!r} at {place}, but of {', '.join(found)}",
                             "name one of these, or none if there is one only")
    return open_log(where, index or found[0])


def scheme_of(where: str) -> str | None:
    """What stands before the colon of a URL; None for a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", where)
    return found.group(1) if found else None


def is_redis(where: str) -> bool:
    """Whether this is the URL of a Redis, not the path of a file.

    Raises:
        ChangeLogError: it is neither.
    """
    scheme = scheme_of(where)
    if scheme is not None and scheme not in redis_server.SCHEMES:
        raise ChangeLogError(f"a change log cannot be opened at {scheme}:",
                             f"give the path of a file, or {redis_server.URLS}")
    if scheme is None and (not where or Path(where).is_dir()):
        raise ChangeLogError(f"{where!r} is not the path of a file", "give a path such as /data/changes.db")
    return scheme is not None


def _indexes(where: str) -> tuple[str, list[str]]:
    """A name of the place for messages, and the indexes that have a log there."""
    if is_redis(where):
        client = redis_server.connect(where)
        place = redis_server.address(client)
        with closing(client), redis_server.reported(place, "cannot be read"):
            return place, sorted(map(str, client.smembers(INDEXES)))
    path = Path(where)
    if not path.exists():
        return where, []
    with sqlite_file.reported(path, "cannot be opened"), closing(sqlite_file.connect(path)) as connection:
        return where, [sqlite_file.names_of(path, connection)[0]]
