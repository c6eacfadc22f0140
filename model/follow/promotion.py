"""Promotion of a bundle: by the admin call of a running service, whose gate may refuse it, or by the pointer alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from index_store.bundle import pointer
from index_store.bundle.bundle import Bundle
from index_store.bundle.pointer import Pointer
from model.config.errors import ConfigError

_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the service is near, behind no proxy

_WAIT_SECONDS = 600.0
"""Longest wait for the reply to a load; the service has a limit of its own, RETRIEVAL_LOAD_SECONDS."""


@dataclass(frozen=True)
class Promoted:
    """The outcome: what the gate compared, and why it refused; None where it did not."""

    comparison: str | None = None
    refusal: str | None = None


class Promoter(Protocol):
    """Makes a bundle of the folder the one that is served."""

    def promote(self, name: str) -> Promoted:
        """Promotes a bundle; if it is served already, nothing changes.

        Raises:
            ConfigError: nobody answers, or not as expected.
            BundleError, PointerError: the bundle or the pointer cannot be used.
        """


@dataclass(frozen=True)
class ByPointer:
    """Sets the pointer once the bundle is verified; services of the folder follow it after a check of their own."""

    bundles: Path

    def promote(self, name: str) -> Promoted:
        """See Promoter; there is no gate."""
        Bundle.open(self.bundles / name)
        before = pointer.read_if_any(self.bundles)
        pointer.replace(self.bundles, Pointer(name) if before is None else before.to(name), before)
        return Promoted()


@dataclass(frozen=True)
class ByService:
    """Asks a running service, which compares the bundle with the one that it serves.

    Attributes:
        url: of the service, such as http://127.0.0.1:8079.
        token: its admin token.
    """

    url: str
    token: str

    def promote(self, name: str) -> Promoted:
        """See Promoter; a bundle that the service refuses is not an error."""
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/admin/bundles/load", json.dumps({"bundle": name}).encode(), method="POST",
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        try:
            with _http.open(request, timeout=_WAIT_SECONDS) as reply:
                return Promoted(comparison=json.load(reply)["comparison"])
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            if error.code == 409 and '"bundle_refused"' in said:
                return Promoted(refusal=_message(said))
            raise ConfigError(f"{self.url} answers {error.code} to the load of bundle {name}: {_message(said)}"
                              ) from error
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{self.url} does not answer the load of bundle {name} ({error}); start the service, or "
                              "leave --service out to set the pointer alone") from error


def _message(body: str) -> str:
    """Message and help of an error, or the body if it is none."""
    try:
        found = json.loads(body)
        return f"{found['message']}; {found['help']}"
    except (ValueError, KeyError, TypeError):
        return body[:300]
