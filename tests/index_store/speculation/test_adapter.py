"""The adapter: each rung has its own weights."""

import numpy as np

from index_store.speculation.adapter import RUNGS, Adapter


def test_each_rung_adds_by_its_own_weights():
    weights = np.arange(2 * 3 * 1, dtype=np.float32).reshape(2, 3, 1)
    adapter = Adapter(weights, np.array([[10], [20]], np.float32))
    values = np.array([[1, 0, 0], [0, 1, 1]], np.float32)
    assert RUNGS == ("pair", "user")
    assert adapter.added("pair", values).tolist() == [[10], [13]]
    assert adapter.added("user", values).tolist() == [[23], [29]]
