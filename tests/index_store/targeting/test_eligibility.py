"""Bitmaps over positions, and eligible positions, against plain sums."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from index_store.targeting.eligibility import Eligible, PlacedMembers, PositionBitmap
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree

flags = arrays.arrays(np.bool_, st.integers(1, 400) | st.sampled_from([63, 64, 65, 128]))


@settings(max_examples=150, deadline=None)
@given(st.data(), flags)
def test_counts_are_plain_sums_when_bitmap_and_exclusions_are_random(data, members):
    n = len(members)
    everyone = data.draw(st.booleans())
    excluded = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=20)), np.int32)
    eligible = Eligible.of(n, None if everyone else PositionBitmap.of(members), excluded)
    plain = np.ones(n, bool) if everyone else members.copy()
    plain[excluded] = False
    assert eligible.total == plain.sum()
    assert eligible.positions().tolist() == np.flatnonzero(plain).tolist()
    assert eligible.contains(np.arange(n)).tolist() == plain.tolist()
    cuts = np.array(sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=8))}), np.int32)
    tree = Tree(np.arange(n, dtype=np.int32), (cuts,), (cuts[:-1],))
    counts = eligible.below(tree, 1, np.arange(tree.size(1)))
    assert counts.dtype == np.int64
    assert counts.tolist() == [plain[first:end].sum() for first, end in pairwise(cuts)]


@settings(max_examples=80, deadline=None)
@given(flags, st.integers(0, 2**32 - 1))
def test_bitmaps_combine_as_flags_do_when_joined_or_inverted(one, seed):
    other = np.random.default_rng(seed).random(len(one)) < 0.5
    left, right = PositionBitmap.of(one), PositionBitmap.of(other)
    for bitmap, plain in ((left & right, one & other), (left | right, one | other), (~left, ~one),
                          (PositionBitmap.full(len(one)), one | True)):
        assert bitmap.positions().tolist() == np.flatnonzero(plain).tolist()
        assert bitmap.total == plain.sum()


def test_a_signature_of_a_million_ads_is_small_when_it_is_kept():
    bitmap = PositionBitmap.of(np.random.default_rng(0).random(1_000_000) < 0.3)
    assert bitmap.words.nbytes + bitmap.ranks.nbytes < 190_000


@given(st.integers(1, 200), st.lists(st.tuples(st.integers(0, 199), st.booleans()), max_size=20))
def test_copy_differs_where_positions_are_replaced_and_nowhere_else(n, replaced):
    flags, last = np.arange(n) % 3 > 0, {at: member for at, member in replaced if at < n}
    before = PositionBitmap.of(flags)
    after = before.replaced(np.array(list(last), np.int64), np.array(list(last.values()), np.bool_))
    expected = flags.copy()
    for at, member in last.items():
        expected[at] = member
    assert after.contains(np.arange(n)).tolist() == expected.tolist()
    assert (after.total, before.total) == (expected.sum(), flags.sum())


def test_items_beyond_the_tree_count_below_their_nearest_leaf_and_are_found_below_each():
    tree = Tree(np.arange(6, dtype=np.int32), (np.array([0, 3, 6], np.int32), np.array([0, 2, 3, 6], np.int32)),
                (np.array([0, 3], np.int32), np.array([0, 2, 3], np.int32)))
    items = PlacedItems(tree, np.array([[2, 0], [0, 1], [1, 2]], np.int32))
    eligible = Eligible.of(6, None, np.array([1, 7]), PlacedMembers(items, np.array([0, 1, 2])))
    assert eligible.total == 5 + 2
    assert eligible.positions().tolist() == [6, 8, 0, 2, 3, 4, 5]
    assert eligible.below(tree, 1, np.array([0, 1])).tolist() == [2 + 1, 3 + 1]
    assert eligible.below(tree, 2, np.array([0, 1, 2])).tolist() == [1, 1 + 1, 3 + 1]
    assert eligible.placed.under(np.array([2])).tolist() == [6, 8]
    assert eligible.placed.under(np.array([0])).tolist() == [6]


@settings(max_examples=150, deadline=None)
@given(st.data(), flags)
def test_items_below_some_nodes_are_those_of_all_that_lie_there(data, members):
    n = len(members)
    excluded = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=20)), np.int32)
    cuts = np.array(sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=12))}), np.int32)
    tree = Tree(np.arange(n, dtype=np.int32), (cuts,), (cuts[:-1],))
    nodes = np.array(data.draw(st.permutations(range(tree.size(1)))), np.int64)[:data.draw(st.integers(1, 12))]
    beyond = PlacedItems(tree, np.zeros((3, 1), np.int32))
    for eligible in (Eligible.of(n, None, excluded), Eligible.of(n, PositionBitmap.of(members), excluded),
                     Eligible.of(n, PositionBitmap.of(members), excluded, PlacedMembers(beyond, np.array([0, 2])))):
        everywhere = [at for at in eligible.positions().tolist() if at < n]
        expected = [at for node in nodes for at in everywhere if cuts[node] <= at < cuts[node + 1]]
        placed = [n, n + 2] if eligible.placed is not None and 0 in nodes else []
        assert eligible.under(tree, 1, nodes).tolist() == placed + expected
