"""Sides: which of the bundles that answer now answers a user, always the same one for the same user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from index_store.declaration.values import FeatureError, as_key
from service.bundles.bundle_host import BundleHost
from service.contract.schemas import RetrieveRequest


@dataclass(frozen=True)
class Canary:
    """The bundle that answers a share of the users."""

    host: BundleHost
    share: float

    def answers(self, key: bytes) -> bool:
        """Whether it answers this user.

        The name of the bundle salts the hash: another canary is tried on other users, and what is drawn from user ids
        elsewhere says nothing about the side. A larger share keeps the users of a smaller one.
        """
        drawn = blake2b(b"canary\0" + self.host.release.name.encode() + b"\0" + key, digest_size=8).digest()
        return int.from_bytes(drawn) < self.share * 2**64


@dataclass(frozen=True)
class Sides:
    """The bundles that answer at a moment. A request reads them once, so that no answer mixes two."""

    current: BundleHost
    canary: Canary | None = None

    def of(self, asked: RetrieveRequest) -> BundleHost:
        """The bundle that answers a request; where it names no user, what it says of the user decides."""
        if self.canary is None:
            return self.current
        if asked.user_id is None:
            return self.of_user(b"\0" + orjson.dumps(asked.user_features, option=orjson.OPT_SORT_KEYS))
        try:
            return self.of_user(as_key(asked.user_id, "user_id"))
        except FeatureError:  # the current bundle will say so
            return self.current

    def of_user(self, key: bytes) -> BundleHost:
        """The bundle that answers a user by this id."""
        return self.canary.host if self.canary is not None and self.canary.answers(key) else self.current

    @property
    def hosts(self) -> tuple[BundleHost, ...]:
        return (self.current,) if self.canary is None else (self.current, self.canary.host)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Keeps the bundles open while a request runs on one of them; called in the event loop."""
        with self.current.request(), nullcontext() if self.canary is None else self.canary.host.request():
            yield
