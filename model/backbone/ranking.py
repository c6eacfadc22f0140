"""Recall@K and NDCG@K of the public benchmark: ranks all items but the user's train items; means over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.backbone.interactions import Matrix, lengths

CUT = 20


@dataclass(frozen=True)
class Quality:
    """Means over users who have test items."""

    recall: float
    ndcg: float


def best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(B, N) scores -> (B, count) columns of the best, best first."""
    top: NDArray[np.int64] = torch.topk(torch.from_numpy(scores), min(count, scores.shape[1]), dim=1).indices.numpy()
    return top


def shown(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """`best`, but -1 in place of columns at minus infinity, such as those that `hide` masks."""
    top = best(scores, count)
    return np.where(np.isneginf(np.take_along_axis(scores, top, axis=1)), -1, top)


def hide(scores: NDArray[np.float32], own: Matrix) -> None:
    """Masks the items that a user already has, `own` (B, items), so that they rank below all others; in place."""
    scores[np.repeat(np.arange(own.shape[0]), lengths(own)), own.indices] = -np.inf


def quality(top: NDArray[np.integer], wanted: Matrix) -> Quality:
    """Measures rankings.

    Args:
        top: (B, K) item rows, best first; -1 where a search found fewer than K.
        wanted: (B, items) test pairs of the same users, at least one each.
    """
    cut = top.shape[1]
    counts = lengths(wanted)
    owners = np.repeat(np.arange(len(counts)), counts)
    keys = owners * wanted.shape[1] + wanted.indices
    hits = np.isin(np.arange(len(top))[:, None] * wanted.shape[1] + top, keys) & (top >= 0)
    discounts = 1 / np.log2(np.arange(2, cut + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, cut) - 1]
    return Quality(float((hits.sum(axis=1) / counts).mean()), float(((hits * discounts).sum(axis=1) / ideal).mean()))
