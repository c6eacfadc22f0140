"""Popularity: most positives first, for everybody."""

import numpy as np
from scipy import sparse

from model.baselines.popularity import Popularity


def test_items_are_ordered_by_their_positives():
    train = sparse.csr_matrix(np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1]], np.float32))
    scores = Popularity.fit(train).scores(np.array([2, 0]))
    assert scores.tolist() == [[1, 0, 3], [1, 0, 3]]
    assert scores.dtype == np.float32
