"""Hold-outs of the train pairs for the choice of hyperparameters: at random, and skewed in four ways.

The items of a test set may be more or less popular than those of train, or nearer to or farther from a user's other
items. Which of these holds is unknown when hyperparameters are chosen, so there is a hold-out for each, and a change
that helps on all of them is likely to help on the test set. They are drawn from the train pairs alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.backbone.interactions import Matrix, Split, degrees, hold_out, lengths
from model.backbone.spectral import fit_towers, normalised

TILT = 4.0
"""How many times as likely the first of a user's pairs is drawn as the last, in the order that a hold-out favours."""

DIMS = 64
"""Dimensions of the towers that measure how near an item is to the rest of a user's items."""

SHAPES = ("random", "popular", "rare", "near", "far")


def shaped(train: Matrix, shape: str, share: float, seed: int) -> Split:
    """Holds out a share of each user's pairs.

    Args:
        train: (users, items) CSR.
        shape: one of SHAPES: which of a user's pairs are more likely to be held out.
        share: of each user's pairs.
        seed: of the draw, and of the towers' start.
    """
    rng = np.random.default_rng(seed)
    if shape == "random":
        return hold_out(train, share, rng)
    order = degrees(train)[train.indices] if shape in ("popular", "rare") else _nearness(train, rng)
    place = _place_within(order, lengths(train))
    return hold_out(train, share, rng, TILT**(place if shape in ("popular", "near") else 1 - place))


def _nearness(train: Matrix, rng: np.random.Generator) -> NDArray[np.float32]:
    """Cosine of each pair's item with the sum of its user's other items, in the towers' space: (pairs,)."""
    towers = fit_towers(normalised(train), DIMS, rng)
    items = (towers.vectors * towers.strengths)[train.indices]
    items /= np.maximum(np.linalg.norm(items, axis=1, keepdims=True), 1e-12)
    ends = np.cumsum(items, axis=0, dtype=np.float64)
    sums = np.diff(np.concatenate([np.zeros((1, ends.shape[1])), ends])[train.indptr], axis=0)
    others = np.repeat(sums, lengths(train), axis=0).astype(np.float32) - items
    cosine: NDArray[np.float32] = (items * others).sum(axis=1) / np.maximum(np.linalg.norm(others, axis=1), 1e-6)
    return cosine


def _place_within(values: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rank of each value among those of its user, from 0 for the lowest to 1 for the highest: (pairs,)."""
    owners = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((values, owners))
    place = np.empty(len(values), np.float32)
    place[order] = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place / np.maximum(counts - 1, 1).astype(np.float32)[owners]
