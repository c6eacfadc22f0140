"""Leaf nodes that outgrow the bound are halved along the direction in which their members differ."""

import numpy as np

from model.tree.repair import split_outgrown


def sizes(codes):
    return np.unique(codes, axis=0, return_counts=True)[1]


def test_an_even_tree_stays_as_it_is():
    codes = np.stack([np.arange(60) % 3, np.arange(60) // 3 % 4], axis=1).astype(np.int32)
    vectors = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    assert np.array_equal(split_outgrown(vectors, codes), codes)


def test_a_leaf_that_outgrew_the_bound_is_split_between_its_two_clusters():
    codes = np.array([[0, 0]] * 40 + [[0, 2]] * 4 + [[1, 0]] * 4 + [[1, 1]] * 4, np.int32)
    vectors = np.zeros((52, 3), np.float32)
    vectors[:20, 1], vectors[20:40, 1] = -5, 5
    found = split_outgrown(vectors, codes, bound=2.5)
    assert np.array_equal(found[40:], codes[40:])
    assert (found[:40, 0] == 0).all()
    for cluster in (found[:20, 1], found[20:40, 1]):
        assert len(set(cluster)) == 1
    assert set(found[:40, 1]) == {0, 1}


def test_no_leaf_exceeds_the_bound_in_the_end_even_among_equal_vectors():
    rng = np.random.default_rng(1)
    codes = np.concatenate([np.zeros((500, 1), np.int32), rng.integers(1, 60, (300, 1)).astype(np.int32)])
    for vectors in (rng.normal(size=(800, 4)).astype(np.float32), np.ones((800, 4), np.float32)):
        found = sizes(split_outgrown(vectors, codes, bound=3.0))
        assert found.sum() == 800
        assert found.max() <= 3.0 * found.mean()
