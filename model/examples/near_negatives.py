"""Near negatives: items that a user's keys reach, which a ranking has to tell apart and a common pool rarely has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.features.ragged import Ragged
from index_store.features.user_keys import WEIGHT, KeyHits, values_per_key


@dataclass(frozen=True)
class _Family:
    """A key family that near negatives are drawn by; each item holds one of its keys.

    Attributes:
        first, end: its keys; the first one is the unknown key.
        column: of its `weight` among the interaction features.
        indptr, items: key - first -> items that hold it.
        key_of_item: (n_items,) key of each item, less `first`.
        alone: whether no two items share a key, as with item ids; a user's own items are then never drawn.
    """

    first: int
    end: int
    column: int
    indptr: NDArray[np.int64]
    items: NDArray[np.int64]
    key_of_item: NDArray[np.integer]
    alone: bool

    def draw(self, hits: KeyHits, clicked: Ragged, draws: int,
             rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Items (B, draws) by the weight of their key, -1 for users who reach none; and total weights (B,)."""
        ours = np.flatnonzero((hits.keys > self.first) & (hits.keys < self.end))
        if self.alone:
            ours = ours[~self._held(hits, clicked)[ours]]
        keys = hits.keys[ours].astype(np.int64) - self.first
        held = self.indptr[keys + 1] - self.indptr[keys]
        cumulative = np.concatenate([[0.0], np.cumsum(np.expm1(hits.values[ours, WEIGHT].astype(np.float64)) * held)])
        bounds = cumulative[np.searchsorted(ours, hits.indptr)]
        totals = np.diff(bounds)
        wanted = bounds[:-1, None] + rng.random((len(totals), draws)) * totals[:, None]
        at = np.minimum(np.searchsorted(cumulative[1:], wanted, side="right"), max(len(keys) - 1, 0))
        if not len(keys):
            return np.full(at.shape, -1), totals
        found = self.items[np.minimum(self.indptr[keys[at]] + (rng.random(at.shape) * held[at]).astype(np.int64),
                                      len(self.items) - 1)]
        return np.where(totals[:, None] > 0, found, -1), totals

    def _held(self, hits: KeyHits, clicked: Ragged) -> NDArray[np.bool_]:
        """Which keys (M,) are held by an item that their user clicked."""
        width, users = self.end, np.arange(len(clicked), dtype=np.int64)
        own = np.repeat(users, clicked.lengths) * width + self.first + self.key_of_item[clicked.values]
        reached = np.repeat(users, np.diff(hits.indptr)) * width + hits.keys  # ascending
        at = np.searchsorted(reached, own)
        at = at[reached.take(at, mode="clip") == own] if len(reached) else at[:0]
        held = np.zeros(len(reached), np.bool_)
        held[at] = True
        return held


@dataclass(frozen=True)
class NearDraws:
    """Near negatives of the users of a batch.

    Attributes:
        items: (B, draws) int64, -1 where a user has no key of the family.
        totals: (families, B) float64 weights of all items that a user's keys reach.
    """

    items: NDArray[np.int64]
    totals: NDArray[np.float64]

    def part(self, users: slice) -> NearDraws:
        """Those of some of the users."""
        return NearDraws(self.items[users], self.totals[:, users])


class NearSampler:
    """Draws from the items that a user's keys reach, a part of the draws by each family, by the weight of the key.

    Args:
        spec: declares the families; those of which an item can hold several keys are left out.
        starts: first key of each family, and the end of the last.
        keys: of each item field, by item row.
    """

    def __init__(self, spec: FeatureSpec, starts: NDArray[np.int64], keys: Mapping[str, Ragged]) -> None:
        self._families = []
        for place, family in enumerate(spec.key_families):
            of_items = keys[family.item_field]
            if of_items.one_each:
                first, end = int(starts[place]), int(starts[place + 1])
                indptr = np.concatenate([[0], np.cumsum(np.bincount(of_items.values, minlength=end - first))])
                self._families.append(_Family(first, end, place * len(values_per_key(spec)) + WEIGHT, indptr,
                                              np.argsort(of_items.values, kind="stable"), of_items.values,
                                              int(np.diff(indptr)[1:].max(initial=0)) <= 1))

    def draws_of(self, most: int) -> int:
        """Draws of a user, at most `most`: as many by each family."""
        return most // len(self._families) * len(self._families) if self._families else 0

    def draw(self, hits: KeyHits, clicked: Ragged, draws: int, rng: np.random.Generator) -> NearDraws:
        """Draws for B users, who clicked `clicked`; as many as `draws_of` returned."""
        each = draws // len(self._families)
        parts = [family.draw(hits, clicked, each, rng) for family in self._families]
        return NearDraws(np.concatenate([items for items, _ in parts], axis=1),
                         np.stack([totals for _, totals in parts]))

    def expected(self, drawn: NearDraws, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """How often each candidate is expected among a user's draws: (B, M).

        Args:
            drawn: the draws.
            features: (B, M, F) interaction features of the candidates.
        """
        each = drawn.items.shape[1] // len(self._families)
        expected = np.zeros(features.shape[:2])
        for family, totals in zip(self._families, drawn.totals, strict=True):
            share = each / np.maximum(totals, 1e-30) * (totals > 0)
            expected += share[:, None] * np.expm1(features[:, :, family.column].astype(np.float64))
        return expected
