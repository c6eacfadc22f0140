"""The stored pairs of users with one bundle: their keys in Redis, and what they add, held by this process for seconds.

The service reads them and says of which users it would like to have some; `python -m service.speculation` makes them.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.live.snapshot import Snapshot
from index_store.speculation.adapter import Speculation
from index_store.speculation.corrections import Corrections
from index_store.speculation.user_pairs import LAYOUT_VERSION, UserPairs
from service.contract.query import EncodedUser, Query
from service.telemetry import metrics

HELD_SECONDS = 5.0
"""How long a process goes without asking Redis about the same user again, whether it had pairs or not."""

HELD_USERS = 10_000
"""Most users that are held: some 10 KB each."""

MOST_WANTED = 10_000
"""Most users who wait for pairs; of more the ones that asked last."""


def rungs(corrections: Corrections | None, positions: NDArray[np.int64]) -> Mapping[str, int]:
    """How many ads at positions (K,) were scored on each rung of the ladder."""
    pairs = 0 if corrections is None else corrections.known(positions)
    others = len(positions) - pairs
    known = corrections is not None
    return {"pair": pairs, "user": others if known else 0, "nothing": 0 if known else others}


@dataclass(frozen=True)
class PairKeys:
    """Keys in Redis of one bundle, whose positions and logits the pairs refer to.

    Attributes:
        prefix: of all of them.
    """

    prefix: bytes

    @classmethod
    def of(cls, bundle_id: str) -> PairKeys:
        return cls(f"speculated:{LAYOUT_VERSION}:{bundle_id}:".encode())

    @property
    def wanted(self) -> bytes:
        """Sorted set of the ids of users who should get pairs, by when they asked."""
        return self.prefix + b"wanted"

    def of_user(self, user_id: bytes) -> bytes:
        """The record of a user."""
        return self.prefix + hashlib.blake2b(user_id, digest_size=16).hexdigest().encode()


@dataclass(frozen=True)
class Held:
    """What Redis had of a user, and until when it need not be asked again, in seconds of `time.monotonic()`."""

    until: float
    corrections: Corrections | None


class SpeculatedPairs:
    """For one event loop.

    Args:
        keys: of the bundle.
        speculation: of the bundle.
        n_items: ads of the bundle.
    """

    def __init__(self, keys: PairKeys, speculation: Speculation, n_items: int) -> None:
        self.keys, self._speculation, self._n_items = keys, speculation, n_items
        self._held: OrderedDict[bytes, Held] = OrderedDict()

    @classmethod
    def of(cls, opened: Bundle) -> SpeculatedPairs | None:
        """Those of a bundle; None if it uses none."""
        content = opened.content
        if content.speculation is None:
            return None
        return cls(PairKeys.of(opened.bundle_id), content.speculation, content.tree.n_items)

    def held(self, user_id: bytes) -> Held | None:
        """What is held of a user; None if Redis has to be asked."""
        held = self._held.get(user_id)
        return held if held is not None and time.monotonic() < held.until else None

    def keep(self, user_id: bytes, record: bytes | None) -> bool:
        """Holds what Redis has of a user, None for nothing; returns whether newer pairs are wanted."""
        key, pairs = self.keys.of_user(user_id), None
        if record is not None:
            pairs = UserPairs.unpacked(key, record, self._speculation.codes.width, self._n_items)
            if pairs is None:
                metrics.SPECULATED_BAD_VALUES.inc()
        found = None if pairs is None else Corrections.of(self._speculation, pairs)
        self._held[user_id] = Held(time.monotonic() + HELD_SECONDS, found)
        self._held.move_to_end(user_id)
        if len(self._held) > HELD_USERS:
            self._held.popitem(last=False)
        return pairs is None or time.time() > pairs.made_at + pairs.lives / 2


@dataclass(frozen=True)
class PairsAsked:
    """A user of a request, whose pairs are asked for.

    Attributes:
        pairs: of the bundle that answers.
        user_id: not empty.
    """

    pairs: SpeculatedPairs
    user_id: bytes

    @property
    def key(self) -> bytes:
        """In Redis, of the user's record."""
        return self.pairs.keys.of_user(self.user_id)

    @property
    def wanted(self) -> bytes:
        """In Redis, of the set of users who should get pairs."""
        return self.pairs.keys.wanted

    @property
    def held(self) -> Held | None:
        """What is held; None if Redis has to be asked."""
        return self.pairs.held(self.user_id)

    def keep(self, record: bytes | None) -> bool:
        """Holds what Redis has, None for nothing; returns whether newer pairs are wanted."""
        return self.pairs.keep(self.user_id, record)


def asked_pairs(pairs: SpeculatedPairs | None, query: Query, user: EncodedUser,
                snapshot: Snapshot) -> PairsAsked | None:
    """The user of a query, if there may be pairs: one who is known, as the query says nothing else, and not forgotten.

    Args:
        pairs: of the bundle; None if it uses none.
        query: names the user.
        user: encoded from both.
        snapshot: what is known of users.
    """
    if pairs is None or user.kind != "known" or snapshot.users.of(query.user_id).forgotten:
        return None
    return PairsAsked(pairs, query.user_id)
