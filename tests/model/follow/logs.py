"""A tiny log, and a change log that continues it."""

from contextlib import closing

from index_store.changes.change_log import Kind, Write
from index_store.changes.sqlite_log import SqliteLog

BEFORE = 1_600_000_000
"""A time in seconds, before every entry of the change logs of these tests."""


WEEK = 7 * 86_400
"""The attribution window."""


def event(user_id, ad_id, kind, at, **named):
    return Write(kind=Kind.EVENT, id=user_id, fields={"ad_id": ad_id, "type": kind, "at": at, **named})


def ad(ad_id, **fields):
    return Write(kind=Kind.AD, id=ad_id, fields=fields)


def user(user_id, **features):
    return Write(kind=Kind.USER, id=user_id, fields={"features": features})


def written(path, writes):
    """A SQLite change log with these writes, or a user id that is forgotten."""
    with closing(SqliteLog(path, "ads")) as log:
        for write in writes:
            log.forget(write) if isinstance(write, str) else log.append([write])
    return path
