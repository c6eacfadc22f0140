"""Who may make a call, and how often: scopes, their bearer tokens and their rate limits.

A token opens the calls of its own scope and no others (docs/decisions/0024-scopes.md).
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from starlette.requests import Request

from service.contract.errors import ErrorType, ServiceError
from service.settings import Settings, variable


class TokenScope(StrEnum):
    """What a token is for; its setting is `<scope>_token`, the limit of its calls `<scope>_rate`."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def token(self) -> str:
        """What the token is called."""
        return f"{self} token"


_DISABLED: Mapping[TokenScope, ErrorType] = {TokenScope.WRITE: ErrorType.WRITES_DISABLED,
                                             TokenScope.ADMIN: ErrorType.ADMIN_DISABLED}
"""Error type of a scope's calls where it has no token; those of the others are open then."""


class RateLimit:
    """A bucket of one second's calls, at least one, which fills up again evenly; used in the event loop only.

    Args:
        scope: of the calls.
        rate: calls a second; 0 for no limit.
        now: clock, in seconds.
    """

    def __init__(self, scope: TokenScope, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._scope, self._rate, self._now = scope, rate, now
        self._most = max(rate, 1.0)
        self._left, self._at = self._most, now()

    def take(self) -> None:
        """Counts a call; raises ServiceError `rate_limited` if there was no room for it."""
        if not self._rate:
            return
        now = self._now()
        self._left, self._at = min(self._most, self._left + (now - self._at) * self._rate), now
        if self._left < 1:
            raise ServiceError(
                ErrorType.RATE_LIMITED, f"more than {self._rate:g} {self._scope} calls a second reached this worker, "
                f"the limit of {variable(f'{self._scope}_rate')}",
                "send fewer, or several changes in one call; try again after the Retry-After header's time",
                retry_after=max(1, math.ceil((1 - self._left) / self._rate)))
        self._left -= 1


class Authorization:
    """Decides about each call of one worker; used in its event loop only.

    Args:
        settings: with tokens and rates.
    """

    def __init__(self, settings: Settings) -> None:
        tokens = {scope: getattr(settings, f"{scope}_token") for scope in TokenScope}
        self._tokens = {scope: token.get_secret_value().encode() for scope, token in tokens.items() if token}
        self._limits = {scope: RateLimit(scope, getattr(settings, f"{scope}_rate")) for scope in TokenScope}

    def check(self, scope: TokenScope, request: Request) -> None:
        """Raises ServiceError unless the request bears the token of this scope and its limit leaves room.

        A refused token takes no room, so that nobody without one can keep others out.
        """
        if scope in self._tokens:
            self._check_token(scope, request)
        elif scope in _DISABLED:
            raise ServiceError(_DISABLED[scope], f"this service has no {scope.token}, so it accepts no calls that need "
                               "one", f"start it with {variable(f'{scope}_token')}")
        self._limits[scope].take()

    def _check_token(self, scope: TokenScope, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        value = given.strip().encode("latin-1")
        # Each comparison takes the same time wherever the first difference is, and all are made.
        fits = {other for other, token in self._tokens.items() if hmac.compare_digest(value, token)}
        fits = fits if scheme.lower() == "bearer" else set()
        send = f"send Authorization: Bearer TOKEN, with the token of {variable(f'{scope}_token')}"
        if not fits:
            raise ServiceError(ErrorType.UNAUTHORIZED, f"the {scope.token} is missing or wrong", send)
        if scope not in fits:
            given_for = " and ".join(other.token for other in TokenScope if other in fits)
            raise ServiceError(ErrorType.WRONG_SCOPE, f"this call needs the {scope.token}, and was given the "
                               f"{given_for}", send)
