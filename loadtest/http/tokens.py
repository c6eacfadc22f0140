"""Tokens for the service under load, from the variables that the service itself reads."""

from __future__ import annotations

import os

READ, ADMIN = "RETRIEVAL_READ_TOKEN", "RETRIEVAL_ADMIN_TOKEN"
"""Named here, for the load image has no `service` package."""


def token_of(variable: str) -> str | None:
    """The token in a variable of the environment; None if it is empty or not set."""
    return os.environ.get(variable) or None


def bearer(token: str | None) -> dict[str, str]:
    """The header that bears a token; no header without one."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}
