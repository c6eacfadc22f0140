"""What both clients are made of: the address, the tokens, and the options of their connections."""

from __future__ import annotations

import os
from typing import Any

import httpx

from monn_hill.version import VERSION

TOKEN_VARIABLES = {"read": "RETRIEVAL_READ_TOKEN", "write": "RETRIEVAL_WRITE_TOKEN"}
"""Environment variables of the tokens, the same that the service reads."""

TIMEOUT = 10.0
"""Seconds of a call that names none."""

CONNECTIONS = 50
"""Most at a time. httpx looks through all connections for each request that waits for one, so with hundreds of both it
takes longer than the service."""

_CONNECT_SECONDS = 2.0


def tokens(read: str | None, write: str | None) -> dict[str, str | None]:
    """Tokens by scope; one that is not given is read from its environment variable.

    Raises:
        ValueError: one has characters that a header cannot have; without its text, which is a secret.
    """
    given = {"read": read, "write": write}
    found: dict[str, str | None] = {}
    for scope, variable in TOKEN_VARIABLES.items():
        token = (given[scope] or os.environ.get(variable) or "").strip()
        if not (token.isascii() and token.isprintable()):
            raise ValueError(f"the {scope} token has characters that are not printable ASCII; see where it comes from")
        found[scope] = token or None
    return found


def options(url: str) -> dict[str, Any]:
    """Options of httpx's clients.

    Raises:
        ValueError: the address is none.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url is {url!r}; give one such as http://127.0.0.1:8080")
    return {"base_url": url, "headers": {"user-agent": f"monn-hill-client/{VERSION}"},
            "limits": httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)}


def timeout(seconds: float) -> httpx.Timeout:
    """That of one try, for each of its waits."""
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def shown(client: httpx.Client | httpx.AsyncClient) -> str:
    """The address, without a password that it may have."""
    return repr(str(client.base_url.copy_with(username=None, password=None)))
