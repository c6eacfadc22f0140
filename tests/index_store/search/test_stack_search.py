"""Searches over stacks, against the closed form of every item's score and a count of what each layer was asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store.search.beam_search import BeamSearch
from index_store.search.deadline import SearchCost
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.explain import Explainer
from index_store.search.ranking import LEAST_BLOCK
from index_store.targeting.eligibility import Eligible, PositionBitmap
from index_store.tree.tree import build_tree
from tests.index_store.search.fake_scorer import PlantedTime
from tests.index_store.stacks import ONE, Stack, query, stacks

TOLERANCE = 1e-5


def level_stack(items, nodes):
    """A stack of two layers over a tree of two levels whose nodes all have as many items."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(nodes), items // nodes)[:, None]
    return Stack(build_tree(codes, random.normal(size=(items, 2)).astype(np.float32)), (1,), random)


def every(stack, count):
    """So many eligible items, spread evenly over the positions."""
    flags = np.zeros(stack.tree.n_items, bool)
    flags[np.linspace(0, stack.tree.n_items - 1, count).astype(int)] = True
    return Eligible.of(stack.tree.n_items, PositionBitmap.of(flags))


def brute_force(stack, eligible, top_k):
    """Scores of the best eligible items, best first."""
    return np.sort(stack.expected(stack.tree.depth)[eligible.positions()])[::-1][:top_k]


@given(stacks(), st.floats(0, 1), st.integers(0, 100))
def test_targeted_searches_of_a_stack_agree_with_brute_force(drawn, share, seed):
    stack, top_k, width = drawn
    tree, random = stack.tree, np.random.default_rng(seed)
    flags = random.random(tree.n_items) < share
    eligible = Eligible.of(tree.n_items, PositionBitmap.of(flags), random.integers(0, tree.n_items, 5))
    ask = {"top_k": top_k, "task_weights": ONE, "eligible": eligible}
    truth = brute_force(stack, eligible, top_k)
    wide = BeamSearch(tree, stack.scorer()).search(query(), beam_width=tree.n_items, **ask)
    exact = ExhaustiveSearch(tree, stack.scorer()).search(query(), **ask)
    stack.asked = [0] * len(stack.asked)
    narrow = BeamSearch(tree, stack.scorer()).search(query(), beam_width=width, **ask)
    np.testing.assert_allclose(wide.scores, truth, atol=TOLERANCE)
    np.testing.assert_allclose(exact.scores, truth, atol=TOLERANCE)
    assert len(narrow.rows) == len(truth)
    assert eligible.contains(tree.position_of_row[narrow.rows]).all()
    assert narrow.pairs_scored == sum(stack.asked)


@pytest.mark.parametrize("ensemble", [(1,), (2,), (1, 2)])
def test_a_wide_beam_of_a_stack_finds_the_best_eligible_items_when_they_are_not_scored_directly(ensemble):
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 5, (900, 2)), random.normal(size=(900, 2)).astype(np.float32))
    stack = Stack(tree, ensemble, random)
    eligible = every(stack, 500)
    # No time for all of them at once, and then all the time there is: the beam walks down.
    found = BeamSearch(tree, stack.scorer()).search(query(), top_k=40, beam_width=900, task_weights=ONE,
                                                    eligible=eligible, deadline=PlantedTime([0.0, np.inf]))
    assert found.narrowed  # to score directly was the plan
    np.testing.assert_allclose(found.scores, brute_force(stack, eligible, 40), atol=TOLERANCE)
    assert found.pairs_scored == sum(stack.asked)


@pytest.mark.parametrize("targeted", [False, True])
def test_explanations_have_the_scores_of_a_layer_above_when_the_items_were_scored_directly(targeted):
    stack = level_stack(items=60, nodes=6)
    ask = {"top_k": 3, "task_weights": ONE, "trace": True}
    if targeted:
        found = BeamSearch(stack.tree, stack.scorer()).search(query(), beam_width=6, eligible=every(stack, 12), **ask)
    else:
        found = ExhaustiveSearch(stack.tree, stack.scorer()).search(query(), **ask)
    above, items = stack.expected(1), stack.expected(2)
    for row, (node, item) in zip(found.rows, Explainer(stack.tree, found).paths(found.rows), strict=True):
        assert item.node == stack.tree.position_of_row[row]
        assert item.score == pytest.approx(items[item.node], abs=TOLERANCE)
        assert node.score == pytest.approx(above[node.node], abs=TOLERANCE)
        assert node.rank == 1 + (above > above[node.node] + TOLERANCE).sum()
        assert node.margin is None  # nothing was dropped there


def test_the_beam_is_taken_when_direct_scoring_costs_more_with_the_nodes_above():
    stack = level_stack(items=1000, nodes=100)
    # Widened twice, the beam takes 100 nodes and 2 x 10 items, with top_k 125: all it may spend; directly it is 210.
    found = BeamSearch(stack.tree, stack.scorer()).search(query(), top_k=5, beam_width=1, task_weights=ONE,
                                                          eligible=every(stack, 110))
    assert stack.asked[0] == 100
    assert 5 <= stack.asked[1] <= 25
    assert found.pairs_scored == sum(stack.asked)


@pytest.mark.parametrize(("seconds", "narrowed"), [(550.0, False), (549.0, True)])
def test_the_nodes_above_are_part_of_the_plan_when_direct_scoring_must_fit_before_a_deadline(seconds, narrowed):
    stack = level_stack(items=1000, nodes=50)
    found = BeamSearch(stack.tree, stack.scorer()).search(query(), top_k=5, beam_width=50, task_weights=ONE,
                                                          eligible=every(stack, 500),
                                                          deadline=PlantedTime([seconds, np.inf]))
    assert found.narrowed == narrowed
    assert stack.asked == [50, 500]  # the beam had all the time there is, but the plan was another


@pytest.mark.parametrize(("seconds", "items"), [(500.0, 400), (np.inf, 1200), (0.0, LEAST_BLOCK)])
def test_exhaustive_search_scores_the_nodes_of_those_items_alone_that_fit_before_a_deadline(seconds, items):
    stack = level_stack(items=1200, nodes=300)
    found = ExhaustiveSearch(stack.tree, stack.scorer()).search(query(), top_k=10, task_weights=ONE,
                                                                deadline=PlantedTime([seconds]))
    assert stack.asked == [items // 4, items]
    assert found.pairs_scored == sum(stack.asked)
    assert found.coverage == pytest.approx(found.pairs_scored / 1500)
    assert found.narrowed == (items < 1200)
    assert found.eligible == 1200
    truth = np.sort(stack.expected(2)[:items])[::-1][:10]
    np.testing.assert_allclose(found.scores, truth, atol=TOLERANCE)


def slow_above(factor):
    """The cost of pairs that take one second each at level 2, and `factor` seconds at level 1."""
    cost = SearchCost(1.0)
    for _ in range(300):
        cost.observe(1, 100, 100.0 * factor)
    return cost


@pytest.mark.parametrize(("seconds", "narrowed"), [(200.0, False), (199.0, True)])
def test_a_slow_layer_that_is_done_narrows_nothing_below_it(seconds, narrowed):
    stack = level_stack(items=1000, nodes=100)
    found = BeamSearch(stack.tree, stack.scorer()).search(query(), top_k=5, beam_width=20, task_weights=ONE,
                                                          deadline=PlantedTime([seconds], slow_above(50.0)))
    assert found.narrowed == narrowed
    assert stack.asked[0] == 100
    assert (stack.asked[1] == 200) != narrowed


def test_exhaustive_search_takes_fewer_items_when_their_nodes_are_slow():
    stack = level_stack(items=4000, nodes=1000)
    found = ExhaustiveSearch(stack.tree, stack.scorer()).search(
        query(), top_k=10, task_weights=ONE, deadline=PlantedTime([2400.5, 500.0, 0.0], slow_above(20.0)))
    assert stack.asked == [100, 400]  # 20 and 4 x 1 seconds a node
    assert found.coverage == pytest.approx(500 / 5000)
