"""GF-CF against its filters as dense matrices."""

import numpy as np
import pytest

from model.backbone import gfcf, ranking


def test_gf_cf_is_the_dense_filter(split):
    """The two filters by dense matrices, with all singular vectors but the last, which a sparse solver cannot give."""
    dense = split.train.toarray().astype(np.float64)
    users, items = np.maximum(dense.sum(axis=1), 1), np.maximum(dense.sum(axis=0), 1)
    rows = dense / np.sqrt(users[:, None] * items)
    vectors = np.linalg.svd(rows, full_matrices=False)[2][:119]
    scores = dense @ rows.T @ rows + gfcf.WEIGHT * (dense / np.sqrt(items)) @ vectors.T @ vectors * np.sqrt(items)
    scores[dense > 0] = -np.inf
    top = gfcf.rank_all(split.train, np.arange(50), np.random.default_rng(0))
    mine = np.take_along_axis(scores[:50], top, axis=1)
    assert mine == pytest.approx(-np.sort(-scores[:50], axis=1)[:, :ranking.CUT], abs=1e-4)
