"""Inputs of the over-arch: tower scores at several ranks, neighbour terms, popularity, length of the history.

Scores of one kind are comparable within a user only, so each is given relative to the user's own scale as well. A
scale needs no pass over all items: for the towers it is the best score among the user's own items, for a neighbour
term the best among its posting hits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.backbone.interactions import Matrix, degrees, lengths, scaled
from model.backbone.neighbours import Neighbours
from model.backbone.spectral import Towers

Array = NDArray[np.float32]

RANKS = (64, 256)
"""Ranks below that of the towers; the full rank gives two scores, plain and weighted by squared strength."""

ITEM_POWER = 0.35
"""Of an item's number of pairs: divides in the user's sum, multiplies the item's score."""

TOWER_SCORES = len(RANKS) + 2
SCORES = TOWER_SCORES + Neighbours.count


@dataclass(frozen=True)
class Block:
    """Scores of all items for B users.

    Attributes:
        scores: (SCORES, B, N) float32, at least 0; 0 for items that the user has already.
        scales: (SCORES, B) float32 of each user.
        popularity: (N,) float32, log of the number of pairs.
        history: (B,) float32, log of the user's number of pairs.
        own: (B, N) the train pairs.
    """

    scores: Array
    scales: Array
    popularity: Array
    history: Array
    own: Matrix

    def inputs(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Array:
        """Raw inputs of P pairs: (P, 2 SCORES + 2) float32 of relative scores, scores, popularity and history."""
        return self.inputs_of(self.scores[:, users, items], self.scales, users, items)

    def inputs_of(self, raw: Array, scales: Array, users: NDArray[np.integer], items: NDArray[np.integer]) -> Array:
        """`inputs` with other scores (SCORES, P) and scales (SCORES, B)."""
        return np.concatenate([raw / scales[:, users], raw, self.popularity[None, items], self.history[None, users]]).T


class PairFeatures:
    """Features of pairs on one matrix of train pairs.

    Args:
        train: (users, items) CSR.
        neighbours: of the same matrix; they take minutes to compute, so several towers share them.
        towers: of the same items.
    """

    def __init__(self, train: Matrix, neighbours: Neighbours, towers: Towers) -> None:
        self.train, self.neighbours, self.towers = train, neighbours, towers
        self.weights: Array = (degrees(train)**ITEM_POWER).astype(np.float32)
        self._memory = np.empty((SCORES, 0, train.shape[1]), np.float32)
        self.users: Array = scaled(train, None, np.reciprocal(self.weights)) @ towers.vectors

    def block(self, users: NDArray[np.integer]) -> Block:
        """Scores of all items for the users (B,), valid until the next call, which overwrites them.

        New pages for a quarter of a gigabyte took the kernel longer than the scores took to compute.
        """
        own = self.train[users]
        rows, items = np.repeat(np.arange(len(users)), lengths(own)), own.indices
        if self._memory.shape[1] < len(users):
            self._memory = np.empty((SCORES, len(users), self.train.shape[1]), np.float32)
        scores = self._memory[:, :len(users)]
        for place, found in zip(scores, self._scores(users), strict=True):
            np.maximum(found, 0, out=place)
        scales = np.zeros((SCORES, len(users)), np.float32)
        for scale, tower in zip(scales[:TOWER_SCORES], scores, strict=False):
            np.maximum.at(scale, rows, tower[rows, items])
        scores[:, rows, items] = 0
        scales[TOWER_SCORES:] = scores[TOWER_SCORES:].max(axis=2)
        return Block(scores, np.maximum(scales, 1e-9), np.log(degrees(self.train)),
                     np.log(np.maximum(lengths(own), 1)).astype(np.float32), own)

    def inputs(self, block: Block, users: NDArray[np.integer], rows: NDArray[np.integer],
               items: NDArray[np.integer]) -> Array:
        """Inputs of P pairs, with the scores of these towers and another block's neighbour terms.

        Args:
            block: of `users`.
            users: (B,) rows.
            rows: (P,) rows of the block.
            items: (P,) rows.
        """
        owners, own = np.repeat(np.arange(len(users)), lengths(block.own)), block.own.indices
        raw, scales = block.scores[:, rows, items], block.scales.copy()
        raw[:TOWER_SCORES] = np.maximum(self._pair_scores(users, rows, items), 0)
        scales[:TOWER_SCORES] = 1e-9
        for scale, scores in zip(scales, self._pair_scores(users, owners, own), strict=False):
            np.maximum.at(scale, owners, scores)
        return block.inputs_of(raw, scales, rows, items)

    def _pair_scores(self, users: NDArray[np.integer], rows: NDArray[np.integer],
                     items: NDArray[np.integer]) -> Array:
        """(TOWER_SCORES, P) of P pairs, not of all items."""
        products = self.users[users][rows] * self.towers.vectors[items]
        scores = [products[:, :rank].sum(axis=1) for rank in RANKS]
        scores += [products.sum(axis=1), products @ self.towers.strengths**2]
        result: Array = np.stack(scores) * self.weights[items]
        return result

    def _scores(self, users: NDArray[np.integer]) -> Iterator[Array]:
        """One (B, items) for each score; each is overwritten when the next one is requested."""
        own, vectors = self.users[users], self.towers.vectors
        total = np.zeros((len(users), len(vectors)), np.float32)
        first = 0
        for rank in (*RANKS, vectors.shape[1]):
            total += own[:, first:rank] @ vectors[:, first:rank].T
            yield total * self.weights
            first = min(rank, vectors.shape[1])
        yield (own * self.towers.strengths**2) @ vectors.T * self.weights
        yield from self.neighbours.terms(users)
