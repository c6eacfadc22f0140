"""Items beyond a tree, under the leaves that they are listed under."""

import numpy as np

from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree

TREE = Tree(np.arange(6, dtype=np.int32), (np.array([0, 3, 6], np.int32), np.array([0, 2, 3, 6], np.int32)),
            (np.array([0, 3], np.int32), np.array([0, 2, 3], np.int32)))


def test_item_has_the_ancestors_of_its_nearest_leaf():
    items = PlacedItems(TREE, np.array([[2, 0], [0, 1], [1, 2]], np.int32))
    assert items.anchors.tolist() == [3, 0, 2]
    assert items.in_tree(np.array([8, 1, 6])).tolist() == [2, 1, 3]
    assert items.counts(1, np.arange(3)).tolist() == [2, 1]
    assert items.counts(2, np.array([0, 2])).tolist() == [0, 1, 1]


def test_item_is_found_under_each_of_its_leaves():
    items = PlacedItems(TREE, np.array([[2, 0], [0, 1], [1, 2]], np.int32))
    assert items.under(np.array([0]), np.arange(3)).tolist() == [0, 1]
    assert items.under(np.array([0, 2]), np.array([2])).tolist() == [2]
    assert items.under(np.array([1]), np.array([0])).tolist() == []


def test_items_are_found_alike_however_many_came_since_the_lists_were_made():
    random = np.random.default_rng(0)
    leaves = np.array([random.permutation(3)[:2] for _ in range(2_000)], np.int32)
    items, count = PlacedItems(TREE, leaves[:100]), 100
    for more in (1, 200, 55, 1, 300, 1_000, 343):
        count += more
        items = items.extended(leaves[:count])
        for nodes in (np.array([1]), np.array([0, 2])):
            truth = np.flatnonzero(np.isin(leaves[:count], nodes).any(axis=1))
            assert items.under(nodes, np.arange(count)).tolist() == truth.tolist()
        found, owners = items.listed(np.array([2, 0]))
        assert sorted(zip(owners.tolist(), found.tolist(), strict=True)) == sorted(
            (owner, int(item)) for owner, leaf in enumerate([2, 0])
            for item in np.flatnonzero((leaves[:count] == leaf).any(axis=1)))
    assert len(items) == count == 2_000


def test_all_items_are_found_when_the_tree_has_no_nodes():
    items = PlacedItems(Tree(np.arange(3, dtype=np.int32), (), ()), np.zeros((2, 0), np.int32))
    assert items.anchors.tolist() == [0, 0]
    assert items.under(np.arange(3), np.array([1])).tolist() == [1]
