"""The Redis of a change log: how it is connected to, the settings it must have, and its errors.

redis-py is imported where it is used, since importing this package needs numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from index_store.changes.change_log import ChangeLogError

if TYPE_CHECKING:
    from redis import Redis

SCHEMES = ("redis", "rediss", "unix")
URLS = "redis://:PASSWORD@HOST:6379/0, rediss://… for TLS, or unix:///PATH"

DURABLE = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no",
           "maxmemory-policy": "noeviction"}
"""Settings without which a Redis may lose, or evict, what it has acknowledged."""

ANSWER_SECONDS = 5.0
"""Longest wait for a connection, and for an answer."""

_REMEDIES = {  # by what redis-py or Redis says
    "used memory": "give it more memory (maxmemory)",
    "read only replica": "name the master, not a replica",
    "loading": "wait until it has loaded its data",
    "MOVED": "name a Redis that is not part of a cluster",
}


def connect(url: str) -> Redis:
    """Makes a client, without connecting. It repeats no command, since an append might then be made twice.

    Raises:
        ChangeLogError: the URL cannot be used, or redis-py is not installed. The message never quotes the URL, which
            may hold a password.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise ChangeLogError("a change log in Redis needs the Python package redis, which is not installed",
                             "run `pip install redis`") from error
    _check_parts(url)
    try:
        client: Redis = Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS,
                                       retry=Retry(NoBackoff(), 0), protocol=2, decode_responses=True)
        client.connection_pool.make_connection()
    except (ValueError, TypeError):
        raise ChangeLogError("the URL of the change log has an option that redis-py does not take",
                             f"write {URLS}") from None
    return client


def address(client: Redis) -> str:
    """Where a client connects to, for messages."""
    to = client.connection_pool.connection_kwargs
    where = to["path"] if "path" in to else f"{to.get('host', 'localhost')}:{to.get('port', 6379)}"
    return f"Redis {where}, database {to.get('db', 0)}"


def check_durable(client: Redis) -> None:
    """Checks that a Redis neither loses nor evicts what it has acknowledged.

    Raises:
        ChangeLogError: a setting is not as in DURABLE, or it does not tell its settings.
        redis.RedisError: it does not answer.
    """
    from redis.exceptions import ResponseError

    try:
        found = {name: client.config_get(name).get(name) for name in DURABLE}
    except ResponseError as error:
        raise ChangeLogError(f"{address(client)} does not tell its settings ({_said(error)}); a change log needs "
                             f"{_listed(DURABLE)}", "let its user run CONFIG GET (`ACL SETUSER NAME +config|get`), or "
                                                    "name another Redis") from error
    wrong = {name: value for name, value in found.items() if value != DURABLE[name]}
    if wrong:
        raise ChangeLogError(f"{address(client)} may lose changes: its settings are {_listed(wrong)}",
                             f"set {_listed({name: DURABLE[name] for name in wrong})} in its configuration")


@contextmanager
def reported(where: str, what: str, remedy: str = "see whether it runs and what its log says") -> Iterator[None]:
    """Turns errors of redis-py into ChangeLogErrors.

    Args:
        where: what they are about.
        what: could not be done.
        remedy: what to do if the connection fails.
    """
    from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, RedisError, TimeoutError

    try:
        yield
    except RedisError as error:
        said = _said(error)
        if isinstance(error, AuthenticationError | NoPermissionError):
            remedy = "correct the user, the password or the rights of the user"
        elif not isinstance(error, ConnectionError | TimeoutError):
            remedy = next((do for words, do in _REMEDIES.items() if words in said), "see what its log says")
        raise ChangeLogError(f"{where} {what} ({said})", remedy) from error


def _check_parts(url: str) -> None:
    """Refuses a URL in which a character of the password ends the part before the host."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in SCHEMES and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or "@" in parts.query or parts.fragment or (
            parts.scheme != "unix" and not re.fullmatch(r"/?|/\d+", parts.path)):
        raise ChangeLogError("the URL of the change log is not one of a Redis",
                             f"write {URLS}; characters of the password like / ? # [ ] @ % must be percent-encoded")


def _said(error: Exception) -> str:
    return str(error).partition(", with args")[0]  # after this Redis quotes what it was sent


def _listed(settings: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
