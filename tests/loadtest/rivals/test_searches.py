"""Searches of a bench, and the scorer that counts their pairs."""

from types import SimpleNamespace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.targeting.eligibility import Eligible
from loadtest.rivals.queries import encoded
from loadtest.rivals.searches import PairCounter, PrecomputedScores, SearchRequest, beams, ranked
from service.retrieval.retriever import Retriever
from tests.loadtest.small_bench import ADS, LITTLE


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "graph", "beam", "exhaustive"])
def test_pairs_are_those_that_the_layers_of_a_stack_compute(stacked_bundle, towers, query_set, kind):
    opened = Bundle.open(stacked_bundle)
    retriever, calls = Retriever(opened), []

    def counted(layer):
        def run(user, items, interaction):
            calls.append(len(items))
            return layer(user, items, interaction)
        return run

    scorer = opened.content.scorer([counted(layer) for layer in retriever.scorer.layers])
    search = next(one for one in LITTLE.searches(opened, towers, None) if one.kind == kind)
    user = encoded(opened, 7)
    vector = towers.query(user) if search.wants_vector else None
    counter = PairCounter(opened.content.tree, scorer)
    search.find(SearchRequest(retriever.query(user), vector, Eligible.of(ADS), np.array([1, 0], np.float32)), counter)
    assert counter.pairs == sum(calls)


def test_precomputed_scores_are_those_of_the_scorer(opened):
    retriever, tree = Retriever(opened), opened.content.tree
    query = retriever.query(encoded(opened, 3))
    precomputed = PrecomputedScores.of(retriever.scorer, query, tree, block=128)
    for level in range(1, tree.depth + 1):
        nodes = np.arange(tree.size(level))[::-2]
        assert np.allclose(precomputed.score(query, level, nodes), retriever.scorer.score(query, level, nodes))


def test_equal_scores_are_ranked_by_item_row():
    tree = SimpleNamespace(rows=np.array([4, 3, 2, 1, 0]))
    found = ranked(tree, np.arange(5), np.array([1, 2, 1, 2, 3], np.float32))
    assert found.tolist() == [0, 1, 3, 2, 4]


def test_beams_are_distinct_and_within_the_tree_with_the_default_among_them(opened):
    tree = opened.content.tree
    sizes = [tree.size(level) for level in range(1, tree.depth)]
    found = beams(tree, [2, 4], [[1, 1], [2, 4], [10**6, 10**6]], [1.0, 2.0])
    assert {beam.beam_width for beam in found} == {(1, 1), (2, 4), (4, 8), tuple(sizes)}
    assert [beam.beam_width for beam in found if beam.default] == [(2, 4)]
