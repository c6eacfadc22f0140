"""Spectral towers: vectors of items in closed form, and the features of pairs that come of them.

The vectors are the strongest singular vectors of the normalised clicks (`model.examples.spectral` fits them). A user's
vector is the sum over the user's clicks, so every user with a history has one. Its inner product with an item's vector
is a low-pass filter of the clicks, and the number of directions it counts says how smooth: pairs get the products of
several ranks. Products of two users are not comparable, so each is also given relative to the mean product of the
user's own items, which needs no pass over the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged, distinct
from index_store.features.spectral_vectors import SpectralVectors

RANKS = (32, 64, 128)
"""Ranks of products besides the full one; those beyond the full rank repeat it."""

SPECTRAL_FEATURES = (*(f"spectral.rank_{rank}" for rank in RANKS), "spectral.full", "spectral.weighted",
                     "spectral.raw", "spectral.popularity", "spectral.history")
"""Names of the features of a pair: products relative to the user's own items, by rank, in full, and with each direction
weighted by its squared strength; the full product as it is; the item's clicks and the user's, as logarithms."""

PRODUCTS = len(RANKS) + 3

RELATIVE_FACTOR, RAW_OFFSET = 10, 0.01
"""Factor of the relative products in their log(1 + x), and what is added to the plain one before its logarithm."""

_PAIRS = 128
"""Pairs whose vectors are held as floats at a time: they fit the cache."""


@dataclass(frozen=True)
class _Candidates:
    """Vectors of C items or nodes as floats, in units of their steps: `head` (C, H) and `tail` (C, 2 T)."""

    head: NDArray[np.float32]
    steps: NDArray[np.float32]
    tail: NDArray[np.float32]
    tail_steps: NDArray[np.float32]

    @classmethod
    def of(cls, vectors: SpectralVectors, rows: NDArray[np.integer]) -> _Candidates:
        at = vectors.places(rows)
        return cls(vectors.values.take(at, axis=0).astype(np.float32), vectors.steps.take(at),
                   vectors.scaled_tail(at), vectors.tail_steps.take(at))


@dataclass(frozen=True)
class SpectralQueries:
    """The vectors of B users.

    Attributes:
        sums: (B, D) float32, over the vectors of the user's items.
        weighted: (B, D) float32, the same with each direction weighted by its squared strength.
        scales: (B, PRODUCTS) float32 factors of the products.
        history: (B,) float32, log(1 + clicks).
    """

    sums: NDArray[np.float32]
    weighted: NDArray[np.float32]
    scales: NDArray[np.float32]
    history: NDArray[np.float32]

    def part(self, users: slice) -> SpectralQueries:
        """Those of some of the users."""
        return SpectralQueries(self.sums[users], self.weighted[users], self.scales[users], self.history[users])

    def features(self, vectors: SpectralVectors, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Features of B users with items or nodes.

        Args:
            vectors: of all items, or of all nodes of a level.
            rows: (C,) the same for all users, or (B, C) each user's own.

        Returns:
            (B, C, len(SPECTRAL_FEATURES)) float32.
        """
        users, shared = len(self.sums), None
        features = np.empty((users, rows.shape[-1], len(SPECTRAL_FEATURES)), np.float32)
        for user in range(users):
            own = rows if rows.ndim == 1 else rows[user]
            if rows.ndim == 2 or shared is None:
                shared = _Candidates.of(vectors, own)
            features[user, :, :PRODUCTS] = self._products(user, shared).T
        features[:, :, PRODUCTS] = vectors.popularity[vectors.places(rows)]
        features[:, :, PRODUCTS + 1] = self.history[:, None]
        return features

    def pair_features(self, vectors: SpectralVectors, users: NDArray[np.integer],
                      rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Features of S pairs, those that `features` gives but for rounding, without a loop over users.

        Args:
            vectors: of all items, or of all nodes of a level.
            users: (S,) of these B.
            rows: (S,) the item or node of each pair.

        Returns:
            (S, len(SPECTRAL_FEATURES)) float32.
        """
        features = np.empty((len(users), len(SPECTRAL_FEATURES)), np.float32)
        for first in range(0, len(users), _PAIRS):
            part = slice(first, first + _PAIRS)
            features[part, :PRODUCTS] = self._pair_products(users[part], _Candidates.of(vectors, rows[part])).T
        features[:, PRODUCTS] = vectors.popularity[vectors.places(rows)]
        features[:, PRODUCTS + 1] = self.history[users]
        return features

    def _pair_products(self, users: NDArray[np.integer], candidates: _Candidates) -> NDArray[np.float32]:
        """Features (PRODUCTS, C) of C candidates, each with a user of its own (C,)."""
        sums, by_strength, head = self.sums[users], self.weighted[users], candidates.head.shape[1]
        products, first = np.empty((PRODUCTS, len(users)), np.float32), 0
        for place, rank in enumerate((*RANKS, head)):
            rank = min(rank, head)
            products[place] = np.vecdot(candidates.head[:, first:rank], sums[:, first:rank])
            if place:
                products[place] += products[place - 1]
            first = rank
        full, weighted = products[len(RANKS):-1]
        weighted[:] = np.vecdot(candidates.head, by_strength[:, :head])
        products[:-1] *= candidates.steps
        if head < sums.shape[1]:
            full += np.vecdot(candidates.tail, sums[:, head:]) * candidates.tail_steps
            weighted += np.vecdot(candidates.tail, by_strength[:, head:]) * candidates.tail_steps
        return _scaled(products, self.scales[users].T)

    def weighted_sum(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors (B, D) float32 whose inner product with an item's is a weighted sum of the user's products with it.

        Args:
            weights: (PRODUCTS,) of the products as numbers: without logarithms, and below zero as they are.
        """
        factors = self.scales * weights
        full, by_strength, plain = factors[:, len(RANKS):].T[..., None]
        vectors: NDArray[np.float32] = self.sums * (full + plain) + self.weighted * by_strength
        for place, rank in enumerate(RANKS):
            vectors[:, :rank] += self.sums[:, :rank] * factors[:, place, None]
        return vectors

    def _products(self, user: int, candidates: _Candidates) -> NDArray[np.float32]:
        """Features (PRODUCTS, C) of a user with candidates.

        Each direction is multiplied twice, however many ranks there are: a rank adds to the one below it.
        """
        sums, by_strength, head = self.sums[user], self.weighted[user], candidates.head.shape[1]
        products, first = np.empty((PRODUCTS, len(candidates.head)), np.float32), 0
        for place, rank in enumerate((*RANKS, head)):
            rank = min(rank, head)
            np.matmul(candidates.head[:, first:rank], sums[first:rank], out=products[place])
            if place:
                products[place] += products[place - 1]
            first = rank
        full, weighted = products[len(RANKS):-1]
        np.matmul(candidates.head, by_strength[:head], out=weighted)
        products[:-1] *= candidates.steps
        if head < len(sums):
            full += candidates.tail @ sums[head:] * candidates.tail_steps
            weighted += candidates.tail @ by_strength[head:] * candidates.tail_steps
        return _scaled(products, self.scales[user][:, None])


def _scaled(products: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (PRODUCTS, C) of products, of which the last, the plain one, is not filled in yet; in place.

    Args:
        products: (PRODUCTS, C) without their scales.
        scales: (PRODUCTS, C) or (PRODUCTS, 1).
    """
    relative, raw = products[:-1], products[-1]
    raw[:] = products[len(RANKS)]
    products *= scales
    np.maximum(products, 0, out=products)
    relative *= RELATIVE_FACTOR
    np.log1p(relative, out=relative)
    raw += RAW_OFFSET
    np.log(raw, out=raw)
    return products


@dataclass(frozen=True)
class SpectralTowers:
    """Both towers of a catalogue: the items' vectors, and how a history becomes a user's.

    Attributes:
        items: vectors of the items, at their rows, or in the order of `places`.
        weights: (n_items,) float32 in the same order: of an item's vector in a user's.
        strengths: (D,) float32 singular values of the directions.
        places: (n_items,) place of each item row in `items`; None where they are at their rows.
    """

    items: SpectralVectors
    weights: NDArray[np.float32]
    strengths: NDArray[np.float32]
    places: NDArray[np.integer] | None = None

    def ordered(self, rows: NDArray[np.integer], places: NDArray[np.integer]) -> SpectralTowers:
        """The towers with the items in the order of `rows` (n_items,), given the place of each row in it."""
        return SpectralTowers(self.items.take(rows), self.weights[rows], self.strengths, places)

    def queries(self, history: Ragged) -> SpectralQueries:
        """The users with histories of B rows of item rows; without one, all products are zero."""
        lengths = history.lengths
        rows = history.values if self.places is None else self.places.take(history.values)
        once = distinct(rows)  # a vector takes longer to unpack than to add
        vectors, places, weights = self.items.dense(once), np.searchsorted(once, rows), self.weights.take(rows)
        sums = np.zeros((len(lengths), self.items.directions), np.float32)
        for user in np.flatnonzero(lengths):
            own = slice(history.indptr[user], history.indptr[user + 1])
            np.matmul(weights[own], vectors.take(places[own], axis=0), out=sums[user])
        weighted = sums * self.strengths**2
        return SpectralQueries(sums, weighted, self._scales(sums, weighted, lengths),
                               np.log1p(lengths).astype(np.float32))

    def _scales(self, sums: NDArray[np.float32], weighted: NDArray[np.float32],
                lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, PRODUCTS): what makes products relative to the mean product of the user's own items, squares / clicks.

        The plain product is relative to the mean product of an item with itself, over the catalogue.
        """
        rank, of_own, first = sums.shape[1], np.empty((len(sums), PRODUCTS - 1), np.float32), 0
        for place, cut in enumerate((*RANKS, rank)):
            part = sums[:, first:min(cut, rank)]
            of_own[:, place] = np.vecdot(part, part)
            if place:
                of_own[:, place] += of_own[:, place - 1]
            first = min(cut, rank)
        of_own[:, -1] = np.vecdot(weighted, sums)
        relative = lengths[:, None] / np.maximum(of_own, 1e-20) * (of_own > 1e-20)
        plain = np.full((len(lengths), 1), len(self.items) / rank)
        return np.concatenate([relative, plain], axis=1).astype(np.float32)
