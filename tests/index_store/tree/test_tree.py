"""The tree as intervals of positions: what it refuses, and its nodes against plain loops over the items."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.tree import node_content
from index_store.tree import tree as tree_module
from index_store.tree.node_content import node_means
from index_store.tree.tree import Tree, TreeError, build_tree, node_blocks, segment_means

ROWS = np.array([2, 0, 1, 4, 3, 5], np.int32)
OFFSETS = (np.array([0, 4, 6], np.int32), np.array([0, 1, 4, 6], np.int32))
REPRESENTATIVES = (np.array([1, 5], np.int32), np.array([0, 2, 4], np.int32))


def ints(*numbers):
    return np.array(numbers, np.int32)


def test_a_sound_tree_is_accepted():
    tree = Tree(ROWS, OFFSETS, REPRESENTATIVES)
    assert (tree.depth, tree.n_items, [tree.size(level) for level in (1, 2, 3)]) == (3, 6, [2, 3, 6])


@pytest.mark.parametrize(("rows", "offsets", "representatives", "said"), [
    (ints(), OFFSETS, REPRESENTATIVES, "the tree holds no items"),
    (ints(2, 0, 1, 4, 3, 3), OFFSETS, REPRESENTATIVES, r"rows is not a permutation of 0\.\.5"),
    (ints(2, 0, 1, 4, 3, 6), OFFSETS, REPRESENTATIVES, r"rows is not a permutation of 0\.\.5"),
    (ints(2, 0, 1, 4, 3, -1), OFFSETS, REPRESENTATIVES, r"rows is not a permutation of 0\.\.5"),
    (ROWS, OFFSETS[:1], REPRESENTATIVES, "1 levels have offsets, 2 have representatives"),
    (ROWS, (OFFSETS[0], ints(0, 4, 1, 6)), REPRESENTATIVES, "offsets of level 2 do not rise from 0 to the 6 items"),
    (ROWS, (OFFSETS[0], ints(0, 4, 4, 6)), REPRESENTATIVES, "offsets of level 2 do not rise from 0 to the 6 items"),
    (ROWS, (ints(1, 4, 6), OFFSETS[1]), REPRESENTATIVES, "offsets of level 1 do not rise from 0 to the 6 items"),
    (ROWS, (ints(0, 4, 5), OFFSETS[1]), REPRESENTATIVES, "offsets of level 1 do not rise from 0 to the 6 items"),
    (ROWS, (ints(0), OFFSETS[1]), REPRESENTATIVES, "offsets of level 1 do not rise from 0 to the 6 items"),
    (ROWS, (OFFSETS[0], ints(0, 1, 5, 6)), (REPRESENTATIVES[0], ints(0, 2, 5)),
     "a node of level 2 lies in two nodes of the level above"),
    (ROWS, OFFSETS, (ints(1, 3), REPRESENTATIVES[1]), "a representative of level 1 is not a member of its node"),
    (ROWS, OFFSETS, (ints(4, 5), REPRESENTATIVES[1]), "a representative of level 1 is not a member of its node"),
    (ROWS, OFFSETS, (ints(1), REPRESENTATIVES[1]), "a representative of level 1 is not a member of its node"),
])
def test_a_tree_is_refused_when_its_arrays_do_not_fit(rows, offsets, representatives, said):
    with pytest.raises(TreeError, match=said):
        Tree(rows, offsets, representatives)


@st.composite
def coded(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items, inner = draw(st.integers(1, 60)), draw(st.integers(0, 3))
    return (random.integers(0, draw(st.integers(1, 4)), (items, inner)),
            random.normal(size=(items, 3)).astype(np.float32))


@settings(max_examples=80, deadline=None)
@given(coded())
def test_nodes_are_the_distinct_prefixes_of_codes_when_codes_are_random(drawn):
    codes, embeddings = drawn
    tree = build_tree(codes, embeddings)
    for level in range(1, tree.depth):
        prefixes = [tuple(code) for code in codes[tree.rows, :level].tolist()]
        assert tree.size(level) == len(set(prefixes))
        of_position = tree.node_of_position(level)
        assert [sorted(set(prefixes)).index(prefix) for prefix in prefixes] == of_position.tolist()
        assert [tree.node_at(level, position) for position in range(tree.n_items)] == of_position.tolist()
        nodes = np.arange(tree.size(level))
        assert tree.items_below(level, nodes).tolist() == np.bincount(of_position).tolist()
        below = tree.node_of_position(level + 1)
        children = [sorted({int(below[p]) for p in np.flatnonzero(of_position == node)}) for node in nodes]
        assert tree.children(level, nodes[::-1]).tolist() == [child for part in children[::-1] for child in part]
        assert tree.child_counts(level, nodes).tolist() == [len(part) for part in children]
        assert tree.ancestors(tree.depth, np.arange(tree.n_items), level).tolist() == of_position.tolist()
        leaves = np.arange(tree.size(tree.depth - 1))
        assert tree.above_leaves[level - 1].tolist() == tree.ancestors(tree.depth - 1, leaves, level).tolist()
        for node in nodes:
            members = np.flatnonzero(of_position == node)
            gaps = ((embeddings[tree.rows[members]] - embeddings[tree.rows[members]].mean(0)) ** 2).sum(1)
            chosen = tree.representatives[level - 1][node]
            assert gaps[members.tolist().index(chosen)] == pytest.approx(gaps.min(), abs=1e-5)
    assert (tree.rows[tree.position_of_row] == np.arange(tree.n_items)).all()


def test_a_representative_is_nearest_to_the_given_centre_when_there_is_one():
    codes, embeddings = np.zeros((3, 1), np.int64), np.array([[0.0], [1.0], [5.0]], np.float32)
    assert build_tree(codes, embeddings).representatives[0].tolist() == [1]
    centre = np.full((3, 1), 4.9, np.float32)
    assert build_tree(codes, embeddings, [centre]).representatives[0].tolist() == [2]


def test_codes_are_refused_when_there_is_not_one_for_each_item():
    with pytest.raises(TreeError, match=r"codes have shape \(2, 1\), and there are 3 embeddings"):
        build_tree(np.zeros((2, 1), np.int64), np.zeros((3, 4), np.float32))


def test_means_are_those_of_each_interval():
    values = np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]], np.float32)
    assert segment_means(values, np.array([0, 2, 3])).tolist() == [[2.0, 3.0], [10.0, 20.0]]


def test_digest_is_the_same_for_equal_trees_of_any_dtype_and_another_when_one_item_moves():
    tree = Tree(ROWS, OFFSETS, REPRESENTATIVES)
    wide = Tree(ROWS.astype(np.int64), tuple(offsets.astype(np.int64) for offsets in OFFSETS), REPRESENTATIVES)
    swapped = Tree(ROWS[[5, 1, 2, 3, 4, 0]], OFFSETS, REPRESENTATIVES)
    flatter = Tree(ROWS, OFFSETS[:1], REPRESENTATIVES[:1])
    assert wide.digest == tree.digest
    assert len({tree.digest, swapped.digest, flatter.digest}) == 3
    assert len(tree.digest) == 64


def test_blocks_of_a_tree_hold_whole_nodes_of_the_first_level(n=50):
    codes = np.random.default_rng(0).integers(0, 4, (n, 3))
    tree = build_tree(codes, np.zeros((n, 2), np.float32))
    for most in (1, 15, 100):
        seen = [[] for _ in tree.offsets]
        for first, rows, levels in node_blocks(tree.rows, tree.offsets, most):
            assert np.array_equal(rows, tree.rows[first:first + len(rows)])
            assert len(rows) <= most or levels[0][0].stop - levels[0][0].start == 1
            for own, (nodes, bounds) in zip(seen, levels, strict=True):
                own += range(nodes.start, nodes.stop)
                assert (bounds[0], bounds[-1]) == (0, len(rows))
        assert seen == [list(range(len(offsets) - 1)) for offsets in tree.offsets]
        assert not list(node_blocks(tree.rows, ()))


def test_representatives_and_means_are_the_same_however_the_blocks_are_cut(monkeypatch):
    random = np.random.default_rng(1)
    codes, vectors = random.integers(0, 3, (200, 2)), random.normal(size=(200, 4)).astype(np.float32)
    whole = build_tree(codes, vectors)
    means = node_means(whole, vectors)
    small = functools.partial(node_blocks, most=7)
    monkeypatch.setattr(tree_module, "node_blocks", small)
    monkeypatch.setattr(node_content, "node_blocks", small)
    parts = build_tree(codes, vectors)
    for one, other in zip((*parts.representatives, *node_means(parts, vectors)), (*whole.representatives, *means),
                          strict=True):
        assert np.array_equal(one, other)
