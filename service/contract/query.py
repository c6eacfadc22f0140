"""The retriever's input: a checked query, search options, and a user as the towers read it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.gates import Gate
from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.targeting.targeting import RequestTargeting

UserKind = Literal["known", "inline", "unknown"]

NO_USER = b""
"""User id of a request without one: no user has it, so the request's features say all that is known."""


@dataclass(frozen=True, kw_only=True)
class Exploring:
    """How an answer explores.

    Attributes:
        share: of its places that go to ads with few impressions.
        below: an ad with fewer impressions is one.
        seed: of the draw.
    """

    share: float
    below: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """A request checked against the bundle; its features, ids, context and targeting are still raw.

    At most one of `beam_width`, `target_overlap`, `budget_ms` and `exact` says how much is searched; without any, the
    bundle's default holds.

    Attributes:
        task_weights: (tasks,) float32.
        exclude_history: leaves out the ads of the user's history; None as the bundle declares.
        explain: asks for the path of each ad that is returned.
        explain_ad: asks what became of one ad.
        by_ecpm: ranks by eCPM, not by score; the bundle is calibrated.
        floor: least eCPM in micros, with `by_ecpm`.
        max_per: ad field or role -> most ads of the same value to return.
        explore: the share of the places to explore with; None as the service is set.
        exploring: what comes of it; None explores nothing, as for requests that the service makes itself.
        at: when it came, in seconds since 1970: budgets and frequency caps are those of then.
    """

    user_id: bytes
    top_k: int
    task_weights: NDArray[np.float32]
    user_features: Mapping[str, Any] | None = None
    exclude_ad_ids: Sequence[str | int] = ()
    exclude_history: bool | None = None
    beam_width: tuple[int, ...] | None = None
    exact: bool = False
    target_overlap: float | None = None
    budget_ms: float | None = None
    timeout_ms: float | None = None
    explain: bool = False
    explain_ad: str | int | None = None
    context: Mapping[str, Any] | None = None
    targeting: Mapping[str, Any] | None = None
    by_ecpm: bool = False
    floor: int = 0
    max_per: Mapping[str, int] = field(default_factory=dict)
    explore: float | None = None
    exploring: Exploring | None = None
    at: float = field(default_factory=time.time, compare=False)


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_width: nodes to keep, one number for each level above the items.
        exact: score every item instead.
        task_weights: (tasks,) float32.
        excluded: item rows that must not be returned.
        by_ecpm, floor, max_per, exploring: of the query.
    """

    top_k: int
    beam_width: tuple[int, ...]
    exact: bool
    task_weights: NDArray[np.float32]
    excluded: NDArray[np.int64]
    by_ecpm: bool = False
    floor: int = 0
    max_per: Mapping[str, int] = field(default_factory=dict)
    exploring: Exploring | None = None


@dataclass(frozen=True, kw_only=True)
class HistoryCount:
    """How many ids of an inline history the bundle knows, and how many it does not."""

    known: int
    unknown: int


@dataclass(frozen=True)
class EncodedUser:
    """A user as towers and targeting read it: one row of features, and a history (M,) of item rows, most recent first.

    `history_count` is there where the request gave the history, `gate` where campaigns may hold ads back. `context`
    holds the ids of the context fields that the model reads; None if they are unknown. `unknown_context` names those of
    them that count as unknown.
    """

    features: Features
    history: NDArray[np.int32]
    kind: UserKind = "known"
    targeting: RequestTargeting = field(default_factory=RequestTargeting)
    history_count: HistoryCount | None = None
    gate: Gate | None = None
    context: NDArray[np.int32] | None = None
    unknown_context: tuple[str, ...] = ()


@dataclass(frozen=True)
class TowerInput:
    """Inputs of the user tower before pooling: dense (1, dense_width) float32 and one bag of ids for each table."""

    dense: NDArray[np.float32]
    bags: Mapping[str, Ragged]

    def digest(self) -> bytes:
        """Hash of all that the embedding depends on except the tower: 16 bytes, the same on all machines."""
        found = hashlib.blake2b(self.dense.astype("<f4", copy=False).tobytes(), digest_size=16)
        for bag in self.bags.values():
            found.update(len(bag.values).to_bytes(4, "little"))
            found.update(bag.values.astype("<i4", copy=False).tobytes())
        return found.digest()
