"""Codes that are matched to an earlier tree: the same nodes, with the numbers that they had."""

import numpy as np
import pytest

from model.tree.matching import changed_prefixes, matched_codes


def random_codes(rng, items, branching=(5, 4)):
    return np.stack([rng.integers(0, children, items) for children in branching], axis=1).astype(np.int32)


def renumbered(codes, rng):
    """The same tree with other numbers, below each parent too."""
    found = codes.copy()
    top = rng.permutation(codes[:, 0].max() + 1)
    found[:, 0] = top[codes[:, 0]]
    for parent in np.unique(codes[:, 0]):
        here = codes[:, 0] == parent
        found[here, 1] = rng.permutation(9)[codes[here, 1]]
    return found


def groups(codes):
    return {frozenset(np.flatnonzero((codes == path).all(axis=1))) for path in np.unique(codes, axis=0)}


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_that_was_only_renumbered_gets_its_numbers_back(seed):
    rng = np.random.default_rng(seed)
    before = random_codes(rng, 300)
    assert np.array_equal(matched_codes(before, renumbered(before, rng)), before)


def test_the_tree_stays_the_same_and_as_many_items_as_possible_keep_their_number():
    rng = np.random.default_rng(0)
    before = random_codes(rng, 400)
    moved = before.copy()
    some = rng.permutation(400)[:40]
    moved[some] = random_codes(rng, 40)
    codes = matched_codes(before, renumbered(moved, rng))
    assert groups(codes) == groups(moved)
    assert (codes != before).any(axis=1).sum() <= 40


def test_new_items_follow_their_node_and_a_new_node_takes_a_free_number():
    before = np.array([[0], [0], [2], [2], [-1], [-1], [-1]], np.int32)
    codes = np.array([[7], [7], [3], [3], [7], [5], [5]], np.int32)
    assert matched_codes(before, codes)[:, 0].tolist() == [0, 0, 2, 2, 0, 1, 1]


def test_the_larger_part_of_a_node_that_splits_keeps_the_number():
    before = np.zeros((5, 1), np.int32)
    codes = np.array([[1], [1], [0], [0], [0]], np.int32)
    assert matched_codes(before, codes)[:, 0].tolist() == [1, 1, 0, 0, 0]


def test_changed_prefixes_count_the_items_of_both_trees_level_by_level():
    before = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [-1, -1]], np.int32)
    codes = np.array([[0, 0], [0, 0], [0, 0], [1, 1], [1, 0]], np.int32)
    assert changed_prefixes(before, codes) == [0.25, 0.5]
    assert changed_prefixes(before[4:], codes[4:]) == [0.0, 0.0]
