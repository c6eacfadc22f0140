"""The bearer token that a group of calls needs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.requests import Request

from service.contract.errors import ErrorType, ServiceError
from service.settings import variable


@dataclass(frozen=True)
class BearerToken:
    """A token, and what is refused without it.

    Attributes:
        value: None refuses every call.
        setting: that it comes from.
        name: such as `admin token`.
        disabled: error type where there is no token.
    """

    value: SecretStr | None
    setting: str
    name: str
    disabled: ErrorType

    def check(self, request: Request) -> None:
        """Raises ServiceError unless the request bears the token."""
        if self.value is None:
            raise ServiceError(self.disabled, f"this service has no {self.name}, so it accepts no calls that need one",
                               f"start it with {variable(self.setting)}")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Takes the same time wherever the first difference is.
        right = hmac.compare_digest(given.strip().encode("latin-1"), self.value.get_secret_value().encode())
        if not right or scheme.lower() != "bearer":
            raise ServiceError(ErrorType.UNAUTHORIZED, f"the {self.name} is missing or wrong",
                               f"send Authorization: Bearer TOKEN, with the token of {variable(self.setting)}")
