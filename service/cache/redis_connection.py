"""Connections to Redis: the URL and its options, the password file, and what is checked at start."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    RedisDsn,
    TypeAdapter,
    ValidationError,
)
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    ResponseError,
)

from service.settings import Settings, SettingsError, variable

FailureReason = Literal["authentication", "cluster", "other"]

_CONNECTIONS = 16
_START_SECONDS = 1.0
_EXAMPLE = "redis://:PASSWORD@HOST:6379/0"
_AUTHENTICATION_ERRORS = (AuthenticationError, AuthorizationError, AuthenticationWrongNumberOfArgsError,
                          NoPermissionError)
_NO_CLUSTER = "name a Redis without cluster mode, or a proxy in front of the cluster, with database 0"
_Flag = Annotated[str, Field(pattern="(?i)^(true|false|yes|no|1|0)$")]


class _Options(BaseModel):
    """Options that may follow the `?` of the URL. Other options of redis-py would change what the service relies on."""

    model_config = ConfigDict(extra="forbid")

    db: NonNegativeInt = 0
    username: str = ""
    password: str = ""
    client_name: str = Field(default="", pattern="^[!-~]*$")  # all that CLIENT SETNAME takes
    max_connections: PositiveInt = _CONNECTIONS
    socket_timeout: PositiveFloat = 1
    socket_connect_timeout: PositiveFloat = 1
    socket_keepalive: _Flag = "true"
    health_check_interval: NonNegativeInt = 0


class _TlsOptions(_Options):
    """Those of `rediss://`; the files are read by `check_redis`."""

    ssl_ca_certs: str = ""
    ssl_ca_path: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_password: str = ""
    ssl_cert_reqs: Literal["none", "optional", "required"] = "required"
    ssl_check_hostname: _Flag = "true"
    ssl_min_version: int = ssl.TLSVersion.TLSv1_2
    ssl_ciphers: str = ""


class PasswordFile(CredentialProvider):
    """A password that is read from its file for every new connection, so that it can be rotated while serving.

    Args:
        file: holds the password in UTF-8; line breaks at its end are ignored.
        username: of the Redis ACL; None for the default user.
    """

    def __init__(self, file: Path, username: str | None) -> None:
        self._file, self._username = file, username

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Raises AuthenticationError if the file cannot be read or is empty."""
        try:
            password = self._file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise AuthenticationError(f"{self._file} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError:
            raise AuthenticationError(f"{self._file} is not UTF-8") from None
        if not password:
            raise AuthenticationError(f"{self._file} is empty")
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def open_pool(settings: Settings, timeout: float) -> BlockingConnectionPool:
    """Creates the connection pool for `REDIS_URL`, without connecting.

    Args:
        settings: `redis_url`, which must be set, and `redis_password_file`.
        timeout: seconds to wait for a connection and for a reply, unless the URL says otherwise.

    Raises:
        SettingsError: the URL or one of its options cannot be used; the message never holds the password.
    """
    options = _parsed("" if settings.redis_url is None else settings.redis_url.get_secret_value().strip())
    if settings.redis_password_file is not None:
        if options.pop("password", None):
            raise SettingsError(f"{variable('redis_url')} and {variable('redis_password_file')} both give a password; "
                                "remove the one from the URL")
        options["credential_provider"] = PasswordFile(settings.redis_password_file, options.pop("username", None))
    # No retries: the circuit breaker decides when to try again, and a request pays for one round trip at most.
    defaults = {"max_connections": _CONNECTIONS, "timeout": timeout, "socket_timeout": timeout,
                "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0), "protocol": 2}
    return BlockingConnectionPool(**{**defaults, **options})


def check_redis(settings: Settings) -> None:
    """Checks at start for what can never work. A Redis that does not answer is no reason to refuse.

    Raises:
        SettingsError: the URL, one of its options, a certificate or the password file cannot be used, or the server
            refuses the database or the client name, or answers that it is one of several in a Redis Cluster.
    """
    pool = open_pool(settings, _START_SECONDS)
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()
        if connection.credential_provider is not None:
            connection.credential_provider.get_credentials()
    except (OSError, ValueError) as error:
        files = ", ".join(f"{name}={value}" for name, value in pool.connection_kwargs.items()
                          if name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"))
        raise _refusal(f"its TLS options cannot be used ({error}): {files}") from error
    except AuthenticationError as error:
        raise SettingsError(f"{variable('redis_password_file')} cannot be used: {error}; write the password of Redis "
                            "there") from error
    problems: list[str | None] = []
    # Not in this thread: asyncio waits for a name to be resolved, however long that takes.
    asking = threading.Thread(target=lambda: problems.append(asyncio.run(_server_problem(pool))), daemon=True)
    asking.start()
    asking.join(_START_SECONDS)
    if problems and problems[0]:
        raise _refusal(problems[0])


def failure_reason(error: Exception) -> FailureReason:
    """Separates failures that an operator has to fix from those that pass, such as timeouts."""
    if isinstance(error, _AUTHENTICATION_ERRORS):
        return "authentication"
    redirected = isinstance(error, AskError) or (isinstance(error, ClusterDownError)
                                                 and not isinstance(error, MasterDownError))
    # SELECT of another database than 0 is refused with "... is not allowed in cluster mode".
    if redirected or (isinstance(error, ResponseError) and "cluster mode" in str(error)):
        return "cluster"
    return "other"


async def _server_problem(pool: BlockingConnectionPool) -> str | None:
    """Why this server can never be the cache, and what to do; None if it can, or does not say."""
    try:
        async with asyncio.timeout(_START_SECONDS):
            return await _handshake_problem(pool) or await _cluster_problem(pool)
    except Exception:  # absent, silent, no Redis at all, no right to ask: the service starts without it
        return None
    finally:
        await pool.aclose()


async def _handshake_problem(pool: BlockingConnectionPool) -> str | None:
    """Why the server refuses every connection; raises what may pass, such as a wrong password or a long script."""
    try:
        await pool.release(await pool.get_connection())  # type: ignore[no-untyped-call]
    except ResponseError as error:
        reason = failure_reason(error)
        if reason == "authentication" or str(error).startswith("BUSY "):
            raise
        if reason == "cluster":
            return f"it names a node of a Redis Cluster and a database other than 0; {_NO_CLUSTER}"
        said = str(error).partition(", with args")[0]  # after this it quotes what it was sent, a password too
        return f"the server refuses the connection ({said}); name a database that it has, and options that it takes"
    return None


async def _cluster_problem(pool: BlockingConnectionPool) -> str | None:
    """Why a Redis Cluster cannot be the cache; None if one master holds all keys; raises if it is not a cluster."""
    info = await Redis(connection_pool=pool).execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    masters = int(info["cluster_size"])
    return (f"it names a node of a Redis Cluster with {masters} masters, each with a part of the keys; {_NO_CLUSTER}"
            if masters > 1 else None)


def _parsed(url: str) -> dict[str, Any]:
    """Arguments of the connection pool, parsed by redis-py after a check of all that it would ignore."""
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port is None or parts.port > 0
        if parts.scheme != "unix":
            TypeAdapter(RedisDsn).validate_python(url)
    except ValueError:  # without its text, which may quote a part of the password
        port_is_sound = False
    if not port_is_sound or "@" in parts.query or parts.fragment:
        raise _refusal(f"it is not a URL such as {_EXAMPLE}; characters of the password like / ? # [ ] @ % must be "
                       "percent-encoded: python -c 'import urllib.parse as u; print(u.quote(input(), \"\"))'")
    if parts.scheme == "unix" and (parts.netloc.rpartition("@")[2] or not parts.path.strip("/")):
        raise _refusal("it does not give the whole path of a socket; write unix:///PATH")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/\d+", parts.path):
        raise _refusal(f"after the host comes something other than the number of a database; write {_EXAMPLE}")
    _check_options(parts.scheme, parts.query)
    return dict(parse_url(url))


def _check_options(scheme: str, query: str) -> None:
    allowed = _TlsOptions if scheme == "rediss" else _Options
    given = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    try:
        allowed.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        if first["type"] != "extra_forbidden":
            raise _refusal(f"its option {name} has a wrong value: {first['msg']}") from None
        why = "needs rediss://" if name in _TlsOptions.model_fields else "is not one of those that can be used"
        raise _refusal(f"its option {name} {why}: {', '.join(allowed.model_fields)}") from None
    if given.get("ssl_keyfile") and not given.get("ssl_certfile"):
        raise _refusal("its option ssl_keyfile needs ssl_certfile, the file with the certificate of this key")


def _refusal(why: str) -> SettingsError:
    return SettingsError(f"{variable('redis_url')} as given cannot be used: {why}; see docs/operations.md")
