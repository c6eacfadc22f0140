"""What a call raises: one class for each thing that a caller may do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

_UNAVAILABLE = (429, 502, 503, 504)
_DONE_ALREADY = "not_applied"
"""Error type of a 503 that is not to be repeated: the write is durable."""


class RetrievalError(Exception):
    """A call that failed.

    Attributes:
        error_type: of the service's closed list (docs/operations.md); `no_reply` or `unreadable_reply` where the
            service did not say.
        message: the fact.
        help: what to do.
        status: of HTTP; None without a reply.
        retry_after: seconds after which the service may be asked again; None where it does not say.
    """

    def __init__(self, error_type: str, message: str, help: str, status: int | None = None,
                 retry_after: float | None = None) -> None:
        super().__init__(error_type, message, help, status, retry_after)
        self.error_type, self.message, self.help = error_type, message, help
        self.status, self.retry_after = status, retry_after

    def __str__(self) -> str:
        status = "" if self.status is None else f"{self.status} "
        return f"{status}{self.error_type}: {self.message}; {self.help}"


class RefusedError(RetrievalError):
    """The service refused the call (4xx); the same call will be refused again."""


class UnavailableError(RetrievalError):
    """The service had no room or was not ready (429, 502, 503, 504) until the deadline; try again later."""


class FailedError(RetrievalError):
    """The service failed (500), made a write that not all workers have applied in time, or sent what is no reply."""


class DeadlineError(RetrievalError):
    """No reply arrived before the deadline, or no connection could be made; a write may have been made."""


class VersionWarning(UserWarning):
    """Client and service are of different versions."""


def error_of(response: httpx.Response) -> RetrievalError:
    """The error for a reply that is no answer."""
    after = response.headers.get("retry-after", "")
    retry_after = float(after) if after.isdecimal() else None
    try:
        return error_in(response.json(), response.status_code, retry_after)
    except (ValueError, LookupError, TypeError):
        kind = UnavailableError if response.status_code in _UNAVAILABLE else FailedError
        return kind("unreadable_reply", f"the reply has status {response.status_code} and begins with "
                    f"{response.text[:60]!r}", "look at what stands between this client and the service",
                    response.status_code, retry_after)


def error_in(body: Mapping[str, Any], status: int, retry_after: float | None) -> RetrievalError:
    """The error for an ErrorReply.

    Raises:
        LookupError, TypeError: the body is none.
    """
    error_type, message, help = body["error_type"], body["message"], body["help"]
    kind: type[RetrievalError] = RefusedError if status < 500 else FailedError
    if status in _UNAVAILABLE and error_type != _DONE_ALREADY:
        kind = UnavailableError
    details = body.get("details")
    return kind(error_type, f"{message}\n{details}" if details else message, help, status, retry_after)


def content_of(response: httpx.Response) -> Any:
    """The JSON of an answer; raises FailedError if it is none."""
    try:
        return json.loads(response.content)
    except ValueError as error:
        raise error_of(response) from error
