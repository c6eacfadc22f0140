"""The scorer of a stack against a sum over each item's ancestors, written out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store.postings import ItemKeys, KeyHits
from index_store.ragged import Ragged
from index_store.scoring import TowerScorer, UserQuery, layer_of_level
from index_store.search import BeamSearch, ExhaustiveSearch
from index_store.tree import build_tree

ONE = np.ones(1, np.float32)
TOLERANCE = 1e-5


class Stack:
    """Layers that read a node's only number and multiply it by a factor of their own; counts what they are asked."""

    def __init__(self, tree, ensemble, random):
        self.tree, self.ensemble = tree, ensemble
        self.numbers = [random.normal(size=(tree.size(level), 1)).astype(np.float32)
                        for level in range(1, tree.depth + 1)]
        self.factors = np.arange(1, len(ensemble) + 2, dtype=np.float32)
        self.asked = [0] * len(self.factors)

    def scorer(self):
        def layer(at):
            def run(user, nodes, interaction):
                self.asked[at] += len(nodes)
                return nodes * self.factors[at]
            return run

        nothing = Ragged(np.zeros(self.tree.n_items + 1, np.int64), np.empty(0, np.int32))
        postings = [Ragged(np.zeros(2, np.int64), np.empty(0, np.int32))] * (self.tree.depth - 1)
        return TowerScorer(self.tree, [layer(at) for at in range(len(self.factors))], self.ensemble, self.numbers,
                           postings, ItemKeys(1, nothing), 1)

    def expected(self, level):
        """Logits of all nodes of a level: of its own layer, and of each layer that ends above it."""
        first = np.arange(self.tree.n_items) if level == self.tree.depth else self.tree.offsets[level - 1][:-1]
        at = sum(own < level for own in self.ensemble)
        found = self.numbers[level - 1][:, 0] * self.factors[at]
        for layer, own in enumerate(self.ensemble[:at]):
            of = np.array([self.tree.node_at(own, int(position)) for position in first])
            found = found + self.numbers[own - 1][of, 0] * self.factors[layer]
        return found


def query():
    nobody = KeyHits(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), np.empty((0, 3), np.float32))
    return UserQuery(np.zeros((1, 1), np.float32), nobody)


@st.composite
def stacks(draw):
    items, inner = draw(st.integers(1, 200)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = random.integers(0, draw(st.integers(1, 5)), (items, inner)).astype(np.int32)
    tree = build_tree(codes, random.normal(size=(items, 2)).astype(np.float32))
    ensemble = tuple(sorted(draw(st.sets(st.integers(1, inner)))))
    return Stack(tree, ensemble, random), draw(st.integers(1, 30)), draw(st.integers(1, 8))


@given(stacks())
def test_every_level_has_the_logits_of_its_layer_and_of_those_above(drawn):
    stack, _, _ = drawn
    scorer, asked = stack.scorer(), query()
    for level in range(1, stack.tree.depth + 1):
        found = scorer.score(asked, level, np.arange(stack.tree.size(level)))
        np.testing.assert_allclose(found[:, 0], stack.expected(level), atol=TOLERANCE)


@given(stacks())
def test_a_wide_beam_of_a_stack_finds_what_exhaustive_search_finds(drawn):
    stack, top_k, _ = drawn
    exact = ExhaustiveSearch(stack.tree, stack.scorer()).search(query(), top_k=top_k, task_weights=ONE)
    beam = BeamSearch(stack.tree, stack.scorer()).search(query(), top_k=top_k, beam_width=stack.tree.n_items,
                                                         task_weights=ONE)
    truth = np.sort(stack.expected(stack.tree.depth))[::-1][:top_k]
    np.testing.assert_allclose(exact.scores, truth, atol=TOLERANCE)
    np.testing.assert_allclose(beam.scores, truth, atol=TOLERANCE)


@given(stacks())
def test_a_search_counts_every_pair_that_the_layers_score_and_none_twice(drawn):
    stack, top_k, width = drawn
    found = BeamSearch(stack.tree, stack.scorer()).search(query(), top_k=top_k, beam_width=width, task_weights=ONE)
    assert found.pairs_scored == sum(stack.asked)
    stack.asked = [0] * len(stack.asked)
    found = ExhaustiveSearch(stack.tree, stack.scorer()).search(query(), top_k=top_k, task_weights=ONE)
    assert found.pairs_scored == sum(stack.asked)
    assert sum(stack.asked) == stack.tree.n_items + sum(stack.tree.size(own) for own in stack.ensemble)


def test_a_layer_is_asked_once_a_node_however_often_its_items_are():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 4, (60, 1)).astype(np.int32), random.normal(size=(60, 2)).astype(np.float32))
    stack, asked = Stack(tree, (1,), random), query()
    scorer = stack.scorer()
    for _ in range(3):
        scorer.score(asked, 2, np.arange(0, 60, 2))
    scorer.score(asked, 1, np.arange(tree.size(1)))
    assert stack.asked == [tree.size(1), 90]


@pytest.mark.parametrize(("level", "layer"), [(1, 0), (2, 0), (3, 1), (4, 2), (5, 2)])
def test_a_layer_steers_the_levels_between_the_one_above_and_its_own(level, layer):
    assert layer_of_level((2, 3), level) == layer
