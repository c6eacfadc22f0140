"""The towers against a dense SVD."""

import numpy as np
import pytest

from model.backbone.interactions import matrix
from model.backbone.spectral import fit_towers, normalised


def test_towers_span_what_a_dense_svd_finds(split, tolerance=1e-3):
    rows = normalised(split.train)
    towers = fit_towers(rows, 6, np.random.default_rng(0))
    _, strengths, vectors = np.linalg.svd(rows.toarray())
    assert towers.strengths == pytest.approx(strengths[:6], abs=tolerance)
    overlap = np.linalg.svd(vectors[:6] @ towers.vectors)[1]
    assert overlap.min() > 1 - tolerance


def test_towers_have_no_more_dimensions_than_the_matrix():
    rows = matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), (2, 5))
    assert fit_towers(normalised(rows), 4, np.random.default_rng(0)).vectors.shape == (5, 1)
