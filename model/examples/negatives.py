"""Sampled negatives for logs of positives, with their log-Q correction.

A batch draws a pool of items from Q, a mixture of uniform and popularity, and each group of examples draws negatives
from the pool: a batch has many distinct negatives, and each is embedded once. A group draws others from the items that
its user's keys reach: these are the ones that a ranking has to tell apart, and the pool rarely has them. Draws are
independent and
with replacement, so if an item is expected n times among a group's draws, one of them represents 1 / n items of the
catalogue: its logit gets -log(n) in training, and no correction at serving. The positive itself is counted exactly. A
node's Q is the sum over its members (Section 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import FeatureSpec
from index_store.features.ragged import Ragged
from index_store.features.user_keys import WEIGHT, KeyHits, values_per_key


@dataclass(frozen=True)
class Candidates:
    """Negatives of the B examples of a batch.

    Attributes:
        ids: (B, M) int64 items or nodes.
        correction: (B, M) float32, added to their logits.
    """

    ids: NDArray[np.int64]
    correction: NDArray[np.float32]


class NegativeSampler:
    """Draws items by Q = uniform_share / n + (1 - uniform_share) popularity.

    Args:
        popularity: (n_items,) clicks of each item.
        uniform_share: in (0, 1].
    """

    def __init__(self, popularity: NDArray[np.integer], uniform_share: float) -> None:
        n = len(popularity)
        self.q = uniform_share / n + (1 - uniform_share) * popularity / max(1, popularity.sum())
        self._cumulative = np.cumsum(self.q)
        self._cumulative /= self._cumulative[-1]

    def items(self, examples: int, draws: int, pool: int, rng: np.random.Generator) -> Candidates:
        """Draws `draws` items for each example from a common pool of `pool` items."""
        drawn = np.searchsorted(self._cumulative, rng.random(pool)).astype(np.int64)
        ids = drawn[rng.integers(0, pool, (examples, draws))]
        return Candidates(ids, -np.log(draws * self.q[ids]).astype(np.float32))

    @staticmethod
    def holding(items: Candidates, node_of_row: NDArray[np.integer], node_q: NDArray[np.float64]) -> Candidates:
        """The nodes of one level that hold the drawn items, draw by draw.

        Args:
            items: the draws.
            node_of_row: (n_items,) node of each item.
            node_q: (n_nodes,) summed Q of each node.
        """
        ids = node_of_row[items.ids].astype(np.int64)
        return Candidates(ids, -np.log(items.ids.shape[1] * node_q[ids]).astype(np.float32))

    @staticmethod
    def nodes(items: Candidates, node_of_row: NDArray[np.integer], node_q: NDArray[np.float64]) -> Candidates:
        """Like `holding`, but all nodes, without sampling, where a level has no more nodes than there are draws."""
        if len(node_q) > items.ids.shape[1]:
            return NegativeSampler.holding(items, node_of_row, node_q)
        everything = np.tile(np.arange(len(node_q)), (len(items.ids), 1))
        return Candidates(everything, np.zeros(everything.shape, np.float32))


@dataclass(frozen=True)
class _Family:
    """A key family that near negatives are drawn by; each item holds one of its keys.

    Attributes:
        first, end: its keys; the first one is the unknown key.
        column: of its `weight` among the interaction features.
        indptr, items: key - first -> items that hold it.
    """

    first: int
    end: int
    column: int
    indptr: NDArray[np.int64]
    items: NDArray[np.int64]

    def draw(self, hits: KeyHits, draws: int,
             rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Items (B, draws) by the weight of their key, -1 for users who reach none; and total weights (B,)."""
        ours = np.flatnonzero((hits.keys > self.first) & (hits.keys < self.end))
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


@dataclass(frozen=True)
class NearDraws:
    """Near negatives of the users of a batch.

    Attributes:
        items: (B, draws) int64, -1 where a user has no key of the family.
        totals: (families, B) float64 weights of all items that a user's keys reach.
    """

    items: NDArray[np.int64]
    totals: NDArray[np.float64]


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
                                              np.argsort(of_items.values, kind="stable")))

    def draws_of(self, most: int) -> int:
        """Draws of a user, at most `most`: as many by each family."""
        return most // len(self._families) * len(self._families) if self._families else 0

    def draw(self, hits: KeyHits, draws: int, rng: np.random.Generator) -> NearDraws:
        """Draws for B users, as many as `draws_of` returned."""
        each = draws // len(self._families)
        parts = [family.draw(hits, each, rng) for family in self._families]
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


def known_positives(candidates: NDArray[np.int64], n: int, positives: Ragged) -> NDArray[np.bool_]:
    """Marks the candidates that their user clicked: (B, M) bool.

    Args:
        candidates: (B, M) ids below n.
        n: number of items or nodes.
        positives: ids that each of B users clicked, or that hold a clicked item.
    """
    owner = np.repeat(np.arange(len(positives), dtype=np.int64), positives.lengths)
    clicked = np.unique(owner * n + positives.values)
    wanted = np.arange(len(positives), dtype=np.int64)[:, None] * n + candidates
    at = np.minimum(np.searchsorted(clicked, wanted), max(0, len(clicked) - 1))
    return clicked[at] == wanted if len(clicked) else np.zeros(candidates.shape, bool)
