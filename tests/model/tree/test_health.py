"""The balance of a tree counts what it says it counts."""

import numpy as np
import pytest

from index_store.tree.tree import build_tree
from model.tree.health import LevelHealth, health, health_table


def test_health_tells_an_even_tree_from_a_lopsided_one():
    vectors = np.arange(8, dtype=np.float32)[:, None]
    even = health(build_tree(np.repeat([0, 1], 4)[:, None], vectors), (2,))[0]
    lopsided = health(build_tree(np.array([0] * 7 + [1])[:, None], vectors), (3,))[0]
    assert (even.entropy, even.largest, even.empty) == (pytest.approx(1.0), 1.0, 0)
    assert lopsided.entropy == pytest.approx(-(7 / 8 * np.log(7 / 8) + 1 / 8 * np.log(1 / 8)) / np.log(2))
    assert (lopsided.largest, lopsided.empty) == (7 / 4, 1)


def test_the_table_has_a_line_a_level():
    lines = health_table([LevelHealth(1, 10, 0.95, 2.0, 0), LevelHealth(2, 40, 0.9, 3.5, 7)]).splitlines()
    assert lines[0].split() == ["level", "nodes", "usage", "entropy", "largest/mean", "empty"]
    assert [line.split() for line in lines[1:]] == [["1", "10", "0.9500", "2.00", "0"],
                                                    ["2", "40", "0.9000", "3.50", "7"]]
