"""Pairs of Section 3.6: planted ones are found, and any tree and interest gives what ten plain lines give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree, build_tree
from model.config.errors import ConfigError
from model.tree.node_pairs import Interest, check_phi, index_pairs, parents, random_pairs


def tree_of(codes):
    codes = np.array(codes)
    return build_tree(codes, np.zeros((len(codes), 2), np.float32))


FIVES = tree_of([(i // 20, i // 5 % 4) for i in range(60)])
"""3 nodes of 4 leaf nodes of 5 items; positions are rows."""


def lists(rows):
    return Ragged.of([np.array(row, np.int32) for row in rows])


def pairs_of(found):
    return [(level.level, *pair) for level in found for pair in zip(level.users.tolist(), level.nodes.tolist(),
                                                                     strict=True)]


def test_planted_interest_is_found_level_by_level():
    # User 0 likes 4 of 5 items of leaf nodes 0 and 1, so 2 of the 4 children of node 0; user 1 likes 3 of 5 of one.
    history = lists([[0, 1, 2, 3, 5, 6, 7, 8], [40, 41, 42], []])
    assert pairs_of(index_pairs(FIVES, Interest(history), (0.8, 0.4))) == [(2, 0, 0), (2, 0, 1), (1, 0, 0)]
    assert pairs_of(index_pairs(FIVES, Interest(history), (0.8, 0.6))) == [(2, 0, 0), (2, 0, 1)]
    assert pairs_of(index_pairs(FIVES, Interest(history), (0.6,))) == [(2, 0, 0), (2, 0, 1), (2, 1, 8)]
    assert index_pairs(FIVES, Interest(history), (0.8,))[0].touched.row(1).tolist() == [8]


def test_touched_nodes_carry_interest_upwards_without_passing():
    history = lists([[0, 5]])
    assert not pairs_of(index_pairs(FIVES, Interest(history), (0.8, 0.5)))
    assert pairs_of(index_pairs(FIVES, Interest(history), (0.8, 0.5), carried="touched")) == [(1, 0, 0)]


def test_beams_give_the_interest_of_every_level_themselves():
    kept = (lists([[2]]), lists([[0, 1, 9]]), lists([[0, 1, 2, 3, 45]]))
    found = index_pairs(FIVES, Interest.of("beam", None, kept), (0.8, 0.5))
    # Leaf node 0 has 4 of 5 kept items. Of node 0's children the beam kept two, of node 2's one.
    assert pairs_of(found) == [(2, 0, 0), (1, 0, 0)]
    assert found[1].touched.row(0).tolist() == [0, 2]


def test_union_adds_what_each_of_the_two_lacks():
    kept = (lists([[0]]), lists([[1]]), lists([[2, 3]]))
    history = lists([[0, 1]])
    assert [pairs_of(index_pairs(FIVES, Interest.of(name, history, kept), (0.8, 0.5)))
            for name in ("history", "beam", "union")] == [[], [], [(2, 0, 0), (1, 0, 0)]]


def test_a_node_with_one_child_makes_no_pair_but_passes_its_interest_on():
    tree = tree_of([(0, 0), (0, 1), (1, 0), (1, 1)])  # every leaf node holds one item
    assert pairs_of(index_pairs(tree, Interest(lists([[0, 1]])), (0.5, 0.9))) == [(1, 0, 0)]


def brute_force(tree, history, kept, phi, carried):
    """The definition, user by user and node by node."""
    found = []
    users = len(history if history is not None else kept[0])
    for u in range(users):
        below = ({int(tree.position_of_row[i]) for i in history.row(u)} if history is not None else set())
        below |= set(kept[-1].row(u).tolist()) if kept else set()
        for step, threshold in enumerate(phi):
            level = tree.depth - 1 - step
            children = [set(tree.children(level, np.array([node])).tolist()) for node in range(tree.size(level))]
            share = [len(below & own) / len(own) for own in children]
            found += [(level, u, node) for node, own in enumerate(children)
                      if share[node] >= threshold and len(own) > 1]
            least = threshold if carried == "passed" else 1e-9
            below = {node for node, phi_ir in enumerate(share) if phi_ir >= least} if history is not None else set()
            below |= set(kept[level - 1].row(u).tolist()) if kept else set()
    return sorted(found)


@st.composite
def worlds(draw):
    items = draw(st.integers(4, 30))
    codes = [[draw(st.integers(0, 2)) for _ in range(3)] for _ in range(items)]
    codes[0][0], codes[1][0] = 0, 1  # a coarsest level of one node is no level
    for row, code in enumerate(codes[:4]):
        code[1] = row % 2
    tree = tree_of(codes)
    users = draw(st.integers(1, 4))

    def nodes(n):
        return lists([draw(st.lists(st.integers(0, n - 1), max_size=12)) for _ in range(users)])

    kept = tuple(nodes(tree.size(level)) for level in range(1, tree.depth + 1))
    phi = draw(st.lists(st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.6, 0.8, 1.0]), min_size=1, max_size=3))
    return tree, nodes(tree.n_items), kept, phi


@settings(deadline=None, max_examples=150)
@given(worlds(), st.sampled_from(["history", "beam", "union"]), st.sampled_from(["passed", "touched"]))
def test_any_world_gives_the_pairs_of_the_definition(world, name, carried):
    tree, history, kept, phi = world
    interest = Interest.of(name, history, kept)
    found = index_pairs(tree, interest, phi, carried)
    assert sorted(pairs_of(found)) == brute_force(tree, interest.history, interest.kept, phi, carried)
    for level in found:
        touched = {(u, node) for u in range(len(history)) for node in level.touched.row(u).tolist()}
        assert {(u, node) for _, u, node in pairs_of([level])} <= touched


@settings(deadline=None, max_examples=50)
@given(worlds(), st.integers(0, 9))
def test_random_pairs_keep_users_and_numbers_and_are_distinct(world, seed):
    tree, history, _, phi = world
    for real in index_pairs(tree, Interest(history), phi):
        drawn = random_pairs(tree, real, np.random.default_rng(seed))
        assert np.array_equal(drawn.users, real.users)
        assert len(set(pairs_of([drawn]))) == len(real)
        assert (tree.child_counts(real.level, drawn.nodes) >= 2).all()


def test_random_pairs_are_spread_over_the_level(tolerance=0.02):
    real = index_pairs(FIVES, Interest(lists([[0, 1, 2, 3]] * 12_000)), (0.8,))[0]
    drawn = random_pairs(FIVES, real, np.random.default_rng(0))
    shares = np.bincount(drawn.nodes, minlength=12) / len(drawn)
    assert shares == pytest.approx(np.full(12, 1 / 12), abs=tolerance)
    again = random_pairs(FIVES, real, np.random.default_rng(0))
    assert np.array_equal(again.nodes, drawn.nodes)


def test_parents_hold_their_children():
    assert parents(FIVES, 1).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert parents(FIVES, 2).tolist() == [i // 5 for i in range(60)]


@pytest.mark.parametrize(("phi", "message"), [
    ((), "phi has no threshold"),
    ((0.8, 0.4, 0.2), r"phi has 3 thresholds \(0.8, 0.4, 0.2\), but the tree has 2 levels"),
    ((0.8, 0.0), r"phi is 0.0 at level 2 above the items; give a share in \(0, 1\]"),
    ((1.5,), r"phi is 1.5 at level 1 above the items"),
    ((float("nan"),), "phi is nan at level 1"),
])
def test_thresholds_that_cannot_work_are_refused(phi, message):
    with pytest.raises(ConfigError, match=message):
        check_phi(FIVES, phi)


def test_a_root_stored_as_a_level_is_not_counted():
    under_one = Tree(FIVES.rows, (np.array([0, 60], np.int32), *FIVES.offsets),
                     (np.array([0], np.int32), *FIVES.representatives))
    check_phi(under_one, (0.8, 0.4))
    with pytest.raises(ConfigError, match=r"phi has 3 thresholds .* but the tree has 2 levels"):
        check_phi(under_one, (0.8, 0.4, 0.2))


def test_interest_of_another_tree_or_of_other_users_is_refused():
    history = lists([[0]])
    with pytest.raises(ConfigError, match="the interest is union, but no recorded beams were given"):
        Interest.of("union", history)
    with pytest.raises(ConfigError, match="the beams have 2 levels, but the tree has 3"):
        index_pairs(FIVES, Interest(None, (history, history)), (0.8,))
    with pytest.raises(ConfigError, match="a beam kept node 7 of level 1, but the tree has 3 there"):
        index_pairs(FIVES, Interest(None, (lists([[7]]), history, history)), (0.8,))
    with pytest.raises(ConfigError, match="histories and beams are of 1, 2, 2, 2 users"):
        index_pairs(FIVES, Interest(history, (lists([[0], [0]]),) * 3), (0.8,))
