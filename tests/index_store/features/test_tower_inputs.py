"""The towers' inputs against the plain definition, whatever bags stand side by side."""

import numpy as np

from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import pool


def plainly(tables, dense, bags):
    rows = []
    for row in range(len(dense)):
        parts = [dense[row]]
        for name, bag in bags.items():
            ids = bag.row(row)
            parts.append(tables[name][ids].sum(axis=0) / np.sqrt(max(1, len(ids))))
        rows.append(np.concatenate(parts))
    return np.array(rows)


def test_tables_are_pooled_as_each_alone_when_some_bags_are_alike(tolerance=1e-6):
    rng = np.random.default_rng(0)
    one_each, history = np.arange(4), np.array([0, 2, 2, 5])
    own = [Ragged.of([[1], [], [2, 3]]), Ragged.of([[], [], []]), Ragged.of([[0], [1], [2]])]
    bags = {"a": Ragged(one_each, rng.integers(0, 6, 3)), "b": Ragged(one_each, rng.integers(0, 6, 3)), "c": own[0],
            "d": Ragged(history, rng.integers(0, 6, 5)), "e": Ragged(history, rng.integers(0, 6, 5)), "f": own[1],
            "g": own[2], "h": Ragged(history, rng.integers(0, 6, 5))}
    tables = {name: rng.normal(size=(6, 2 + at)).astype(np.float32) for at, name in enumerate(bags)}
    dense = rng.normal(size=(3, 2)).astype(np.float32)
    found = pool(tables, dense, bags)
    assert found.dtype == np.float32
    assert np.allclose(found, plainly(tables, dense, bags), atol=tolerance)
