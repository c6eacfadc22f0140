"""Signatures of items' values."""

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from index_store.features.signature import WIDTH, directions, signatures


def test_items_are_alike_as_far_as_they_share_values():
    of_value = directions(50, np.random.default_rng(0))
    found = signatures(Ragged.of([[1, 2], [2, 1], [1, 30], [40, 41], []]), of_value)
    likeness = found @ found.T
    assert likeness[0, 1] == pytest.approx(1.0, abs=1e-5)
    assert likeness[0, 1] > likeness[0, 2] > abs(likeness[0, 3])
    assert np.linalg.norm(found, axis=1).tolist() == pytest.approx([1, 1, 1, 1, 0], abs=1e-5)
    assert (found.shape, found.dtype) == ((5, WIDTH), np.float32)
