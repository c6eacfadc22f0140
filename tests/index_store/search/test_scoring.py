"""The scorer of a stack against a sum over each item's ancestors, written out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from index_store.bundle.bundle import Bundle
from index_store.features.interaction import feature_names
from index_store.kernel.pair_kernel import PairKernel
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.scoring import AddedItems, layer_of_level
from index_store.tree.tree import build_tree
from tests.index_store.kernel.plain_scorer import compiled, random_weights
from tests.index_store.stacks import ONE, Stack, query, stacks

TOLERANCE = 1e-5


@given(stacks())
def test_every_level_has_the_logits_of_its_layer_and_of_those_above(drawn):
    stack, _, _ = drawn
    scorer, asked = stack.scorer(), query()
    for level in range(1, stack.tree.depth + 1):
        found = scorer.score(asked, level, np.arange(stack.tree.size(level)))
        np.testing.assert_allclose(found[:, 0], stack.expected(level), atol=TOLERANCE)


@given(stacks())
def test_a_shift_is_added_once_at_every_level_however_many_layers_are_summed(drawn):
    stack, _, _ = drawn
    scorer, asked = stack.scorer(), replace(query(), shift=np.array([2.5], np.float32))
    for level in (stack.tree.depth, *range(1, stack.tree.depth + 1)):
        found = scorer.score(asked, level, np.arange(stack.tree.size(level)))
        np.testing.assert_allclose(found[:, 0], stack.expected(level) + 2.5, atol=TOLERANCE)


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


@given(stacks())
def test_consecutive_nodes_are_read_in_place_and_others_row_by_row(drawn):
    stack, _, _ = drawn
    scorer, nodes = stack.scorer(), np.arange(stack.tree.n_items)
    embeddings = scorer.embeddings[-1]
    for chosen in (nodes, nodes[1:], nodes[::-1], nodes[::2], np.roll(nodes, 1), nodes[:0]):
        items, _ = scorer.gather(query(), stack.tree.depth, chosen)
        np.testing.assert_array_equal(items, embeddings[chosen])
    assert np.shares_memory(scorer.gather(query(), stack.tree.depth, nodes)[0], embeddings)


def test_nodes_with_a_layer_of_their_own_are_ranked_by_it_and_add_nothing_to_the_items():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 4, (60, 2)).astype(np.int32), random.normal(size=(60, 2)).astype(np.float32))
    stack = Stack(tree, (), random)
    stack.factors, stack.asked = np.array([7, 2], np.float32), [0, 0]
    scorer, asked = stack.scorer(), query()
    for level, factor in ((1, 7), (2, 7), (3, 2)):
        found = scorer.score(asked, level, np.arange(tree.size(level)))
        np.testing.assert_allclose(found[:, 0], stack.numbers[level - 1][:, 0] * factor, rtol=1e-6)
        np.testing.assert_array_equal(scorer.score_alone(asked, level, np.arange(tree.size(level))), found)
    assert stack.asked == [2 * (tree.size(1) + tree.size(2)), 2 * 60]


@pytest.mark.parametrize("beyond", [0, 1, 7])
def test_the_kernel_reads_the_rows_that_other_layers_are_given(tiny_bundle, beyond):
    content, random = Bundle.open(tiny_bundle).content, np.random.default_rng(0)
    weights = random_weights(random, dim=2, user_tokens=2, item_tokens=2, tokens=2, tasks=2,
                             features=len(feature_names(content.encoder.spec)))
    kernel = PairKernel(weights, compiled())
    fused, given = content.scorer([kernel]), content.scorer([kernel.__call__])
    asked = content.query(random.normal(size=(1, 8)).astype(np.float32), content.users.features.take(np.array([3])),
                          content.users.history.row(3))
    towers, depth = content.index.spectral, content.tree.depth
    if beyond:  # as items that the tree lacks: copies of its first
        first = np.arange(beyond)
        asked.added = AddedItems(None, content.embeddings[-1][first], content.keys_of_position.take(first),
                                 (towers.items.take(first),))
    for level in range(1, depth + 1):
        nodes = random.permutation(content.tree.size(level))
        if level == depth:
            nodes = np.concatenate([np.arange(beyond) + content.tree.n_items, nodes])
        found = fused.score(asked, level, nodes)
        np.testing.assert_allclose(found, given.score(asked, level, nodes), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found[:beyond], found[np.argsort(nodes)][:beyond])
    assert asked.kernel_seconds > 0
