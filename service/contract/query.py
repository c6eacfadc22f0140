"""What is asked of a retriever: a checked request, and a user as the towers read it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.targeting.targeting import RequestTargeting

UserKind = Literal["known", "inline", "unknown"]


@dataclass(frozen=True)
class Query:
    """A request that was checked against the bundle; its features, ids, context and targeting are still raw.

    `explain` asks for the path of each ad returned, `explain_ad` for what became of one ad.
    At most one of `beam_width`, `target_overlap`, `budget_ms` and `exact` says how much is searched; without any, the
    bundle does.
    """

    user_id: bytes
    user_features: Mapping[str, Any] | None
    exclude_ad_ids: Sequence[str | int]
    top_k: int
    beam_width: tuple[int, ...] | None
    exact: bool
    task_weights: NDArray[np.float32]
    target_overlap: float | None = None
    budget_ms: float | None = None
    timeout_ms: float | None = None
    explain: bool = False
    explain_ad: str | int | None = None
    context: Mapping[str, Any] | None = None
    targeting: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_width: nodes to keep, one number a level above the items.
        exact: score every item instead.
        task_weights: (tasks,) float32.
        excluded: item rows that must not be returned.
    """

    top_k: int
    beam_width: tuple[int, ...]
    exact: bool
    task_weights: NDArray[np.float32]
    excluded: NDArray[np.int64]


@dataclass(frozen=True)
class EncodedUser:
    """A user as towers and targeting read it: features of one row, history (M,) of item rows, most recent first."""

    features: Features
    history: NDArray[np.int32]
    kind: UserKind = "known"
    targeting: RequestTargeting = field(default_factory=RequestTargeting)


@dataclass(frozen=True)
class TowerInput:
    """Inputs of the user tower before pooling: dense (1, dense fields) float32 and one bag of ids a table."""

    dense: NDArray[np.float32]
    bags: Mapping[str, Ragged]

    def digest(self) -> bytes:
        """Hash of all that the embedding depends on, but for the tower itself: 16 bytes, the same on all machines."""
        found = hashlib.blake2b(self.dense.astype("<f4", copy=False).tobytes(), digest_size=16)
        for bag in self.bags.values():
            found.update(len(bag.values).to_bytes(4, "little"))
            found.update(bag.values.astype("<i4", copy=False).tobytes())
        return found.digest()
