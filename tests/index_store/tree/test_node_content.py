"""What a node stands for, against plain loops over its members."""

import numpy as np
import pytest

from index_store.declaration.spec import KeyFamily
from index_store.features.postings import FamilyReach, ItemKeys, KeyIndex
from index_store.features.ragged import Ragged
from index_store.tree.node_content import level_postings, node_means
from index_store.tree.tree import Tree

# Item rows are positions turned round. Nodes of level 1: positions 0 to 2, and 3 to 5.
TREE = Tree(np.arange(6, dtype=np.int32)[::-1].copy(), (np.array([0, 3, 6], np.int32),), (np.array([1, 5], np.int32),))
FAMILIES = (KeyFamily("tags", "tags", "match"),)
INDEX = KeyIndex.of(FAMILIES, [FamilyReach.matching(np.arange(5, dtype=np.int32), np.ones(5, np.float32))])
TAGS = Ragged.of([[4], [], [1], [1, 2], [3], [2, 0]])  # by row; 0 is the unknown key


@pytest.mark.parametrize(("node_features", "nodes_of_key"), [
    ("maximum", [[], [0, 1], [0], [0], [1]]),
    ("representative", [[], [], [], [0], [1]])])  # rows 4 and 0
def test_nodes_hold_the_keys_of_all_members_or_of_their_representative(node_features, nodes_of_key):
    keys = ItemKeys.of(FAMILIES, INDEX.starts, {"tags": TAGS})
    found = level_postings(TREE, INDEX, keys, 1, node_features)
    assert [found.row(key).tolist() for key in range(5)] == nodes_of_key


def test_means_are_taken_over_the_members_in_tree_order():
    vectors = np.array([[0.0], [1.0], [2.0], [30.0], [40.0], [50.0]], np.float32)
    means, = node_means(TREE, vectors)
    assert means.tolist() == [[40.0], [1.0]]
