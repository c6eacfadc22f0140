"""Leaves nearest to a vector, compared with all of them."""

import numpy as np
import pytest

from index_store.live.nearest_leaves import KEPT, NearestLeaves
from index_store.tree.tree import Tree


def tree_of(n_leaves, n_nodes):
    starts = np.linspace(0, n_leaves, n_nodes + 1).astype(np.int32)
    leaves = np.arange(n_leaves + 1, dtype=np.int32)
    return Tree(np.arange(n_leaves, dtype=np.int32), (starts, leaves), (starts[:-1], leaves[:-1])), starts


def brute_force(vectors, vector, most):
    return np.argsort(((vectors - vector) ** 2).sum(axis=1), kind="stable")[:most]


@pytest.mark.parametrize("most", [1, 8, 500])
def test_walk_finds_the_nearest_of_all_leaves_when_every_node_is_kept(most):
    random = np.random.default_rng(0)
    tree, _ = tree_of(300, KEPT)
    vectors = random.normal(size=(300, 8)).astype(np.float32)
    nearest = NearestLeaves(tree, vectors)
    for vector in random.normal(size=(20, 8)).astype(np.float32):
        assert nearest.find(vector, most).tolist() == brute_force(vectors, vector, most).tolist()


def test_walk_finds_most_of_the_nearest_when_nodes_hold_leaves_that_are_alike():
    random = np.random.default_rng(0)
    tree, starts = tree_of(4_000, 8 * KEPT)
    centres = random.normal(size=(8 * KEPT, 16)).repeat(np.diff(starts), axis=0)
    vectors = (centres + random.normal(size=(4_000, 16), scale=0.5)).astype(np.float32)
    nearest = NearestLeaves(tree, vectors)
    found = [len(set(nearest.find(vector, 8)) & set(brute_force(vectors, vector, 8)))
             for vector in vectors[random.integers(4_000, size=100)] + np.float32(0.1)]
    assert np.mean(found) > 7.8
