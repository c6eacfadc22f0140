"""GF-CF, the training-free filter that checks the harness: a linear filter plus a weighted ideal low-pass one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.backbone import ranking
from model.backbone.interactions import Matrix, degrees, scaled
from model.backbone.model import blocks
from model.backbone.spectral import fit_towers, normalised

DIMS, WEIGHT = 256, 0.3
"""Published for Gowalla."""


def rank_all(train: Matrix, users: NDArray[np.integer], rng: np.random.Generator, size: int = 512,
             ) -> NDArray[np.int64]:
    """The best items of the users (B,): (B, CUT) rows, best first."""
    rows = normalised(train)
    columns, vectors = rows.T.tocsr(), fit_towers(rows, DIMS, rng, iterations=40).vectors
    root = np.sqrt(degrees(train))
    tops = []
    for chosen in blocks(users, size, "GF-CF"):
        own = train[chosen]
        low = ((scaled(own, None, np.reciprocal(root)) @ vectors) @ vectors.T) * root
        scores = ((own @ columns) @ rows).toarray() + np.float32(WEIGHT) * low
        ranking.hide(scores, own)
        tops.append(ranking.best(scores, ranking.CUT))
    return np.concatenate(tops)
