"""What the calls that use the change log have in common: options, idempotency key, waiting for the workers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from index_store.changes.change_log import Change
from service.contract.ad_schemas import IDEMPOTENCY_KEY, KEY_PATTERN, WriteOptions
from service.contract.errors import ErrorType, ServiceError, shown
from service.contract.parsing import parse_request
from service.live.applied import wait_until_applied
from service.live.log_writer import LogWriter, RefusedWriteError
from service.settings import Settings, variable
from service.telemetry import metrics

APPLIED_SECONDS = 5.0
"""Longest wait for all workers; the proxy has to wait longer."""


REFUSALS = {
    400: "the body is not valid JSON", 401: "the token is missing or wrong",
    403: "this service has no write token, or the token is of another scope",
    404: "there is no such ad", 408: "the body did not arrive in time",
    409: "the version is not the expected one, the idempotency key was used for another write, or there is no change "
         "log; nothing was written", 413: "the body is too large", 415: "the body is not declared as what it has to be",
    422: "a field, parameter or line is invalid",
    429: "overloaded, or too many calls; see Retry-After", 500: "the service failed",
    503: "not ready yet, shutting down, the change log fails, or not applied in time; see the message"}
"""HTTP status -> when a call that writes is refused."""

READ_REFUSALS = {**{status: REFUSALS[status] for status in (401, 403, 404, 429, 500)}, 409: "there is no change log",
                 422: "a parameter is invalid",
                 503: "not ready yet, shutting down, or the change log fails; see the message"}
"""HTTP status -> when a call that reads the change log is refused."""

_Options = TypeVar("_Options", bound=BaseModel)


class ChangeCalls:
    """Lets calls use the change log.

    Args:
        settings: of the service.
        log: the change log; None without one.
        refuse_if_draining: raises ServiceError once the service is about to end.
    """

    def __init__(self, settings: Settings, log: LogWriter | None, refuse_if_draining: Callable[[], None]) -> None:
        self.settings, self._log = settings, log
        self._refuse_if_draining = refuse_if_draining

    def usable(self) -> LogWriter:
        """The change log, while calls may use it.

        Raises:
            ServiceError: the service drains, or there is none.
        """
        self._refuse_if_draining()
        if self._log is None:
            raise ServiceError(ErrorType.NO_CHANGE_LOG, "this service was started with a single bundle and without a "
                               "change log", f"start it with {variable('change_log')}, or with a folder of bundles")
        return self._log

    async def counted(self, writes: int, appended: Awaitable[list[Change]]) -> list[Change]:
        """What a writer has appended; its outcome is counted."""
        try:
            changes = await appended
        except RefusedWriteError:
            metrics.WRITES.labels("refused").inc(writes)
            raise
        except ServiceError:
            metrics.WRITES.labels("unavailable").inc(writes)
            raise
        metrics.WRITES.labels("written").inc(writes)
        return changes

    async def applied(self, changes: Sequence[Change], options: WriteOptions) -> bool:
        """Whether every worker has applied these changes, waiting for it if the caller does.

        Raises:
            ServiceError: `not_applied`, if it takes too long.
        """
        last = max(change.sequence for change in changes)
        behind = await wait_until_applied(last, APPLIED_SECONDS if options.wait == "applied" else 0.0)
        if behind and options.wait == "applied":
            metrics.WRITES.labels("not_applied").inc(len(changes))
            lag = ", ".join(f"worker {number} at {as_of}" for number, as_of in behind.items())
            raise ServiceError(ErrorType.NOT_APPLIED, f"change {last} is durable, but after {APPLIED_SECONDS:g} s not "
                               f"applied everywhere: {lag}", "do not write again; GET /ads/{ad_id} and the metric "
                               "retrieval_changes_applied show when all workers have applied it, the log why one has "
                               "not")
        return not behind


def options_of(request: Request, schema: type[_Options]) -> _Options:
    """The query string of a call."""
    return parse_request(dict(request.query_params), schema)


def idempotency_key(request: Request) -> str | None:
    """That of a call; None if it has none."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not re.fullmatch(KEY_PATTERN, key):
        raise ServiceError(ErrorType.INVALID_VALUE, f"{IDEMPOTENCY_KEY} is {shown(key)}",
                           "send 1 to 128 printable characters of ASCII without spaces")
    return key
