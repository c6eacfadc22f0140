"""What the over-arch sees of a pair: tower scores at several ranks, neighbour terms, popularity, length of history.

Scores of one kind are comparable within a user only, so each is given relative to the user's own scale as well. A
scale needs no pass over all items: for the towers it is the best score among the user's own items, for a neighbour
term the best among its posting hits.
"""

from __future__ import annotations

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
        """The same with other scores (SCORES, P) and scales (SCORES, B)."""
        return np.concatenate([raw / scales[:, users], raw, self.popularity[None, items], self.history[None, users]]).T


class PairFeatures:
    """Features of pairs on one matrix of train pairs.

    Args:
        train: (users, items) CSR.
        neighbours: of the same matrix; they cost minutes, so several towers share them.
        towers: of the same items.
    """

    def __init__(self, train: Matrix, neighbours: Neighbours, towers: Towers) -> None:
        self.train, self.neighbours, self.towers = train, neighbours, towers
        self.weights: Array = (degrees(train)**ITEM_POWER).astype(np.float32)
        self.users: Array = scaled(train, None, np.reciprocal(self.weights)) @ towers.vectors

    def block(self, users: NDArray[np.integer], terms: Array | None = None) -> Block:
        """All items for the users (B,).

        Args:
            users: rows.
            terms: what `terms` gave for them, if it was asked before.
        """
        own = self.train[users]
        rows, items = np.repeat(np.arange(len(users)), lengths(own)), own.indices
        towers = self._tower_scores(users)
        scales = np.zeros((SCORES, len(users)), np.float32)
        for scale, scores in zip(scales, towers, strict=False):
            np.maximum.at(scale, rows, scores[rows, items])
        everything = np.concatenate([towers, self.terms(users) if terms is None else terms])
        np.maximum(everything, 0, out=everything)
        everything[:, rows, items] = 0
        scales[TOWER_SCORES:] = everything[TOWER_SCORES:].max(axis=2)
        return Block(everything, np.maximum(scales, 1e-9), np.log(degrees(self.train)),
                     np.log(np.maximum(lengths(own), 1)).astype(np.float32), own)

    def inputs(self, block: Block, users: NDArray[np.integer], rows: NDArray[np.integer],
               items: NDArray[np.integer]) -> Array:
        """Inputs of P pairs with the tower scores of these towers and the terms of a block of other towers' features.

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

    def terms(self, users: NDArray[np.integer]) -> Array:
        """(Neighbours.count, B, items) float32."""
        return np.stack([np.asarray(term, np.float32) for term in self.neighbours.terms(users)])

    def _tower_scores(self, users: NDArray[np.integer]) -> Array:
        own, vectors = self.users[users], self.towers.vectors
        total = np.zeros((len(users), len(vectors)), np.float32)
        scores, first = [], 0
        for rank in (*RANKS, vectors.shape[1]):
            total = total + own[:, first:rank] @ vectors[:, first:rank].T
            scores.append(total * self.weights)
            first = min(rank, vectors.shape[1])
        scores.append((own * self.towers.strengths**2) @ vectors.T * self.weights)
        return np.stack(scores)
