"""Distilled vectors: what a search over them finds and leaves out."""

import numpy as np
import pytest

from index_store.targeting.eligibility import Eligible
from loadtest.rivals.distilled import distilled_sweep, user_inputs
from loadtest.rivals.queries import encoded
from loadtest.rivals.searches import TOP_K, PairCounter, SearchRequest
from service.retrieval.retriever import Retriever
from tests.loadtest.small_bench import ADS

WEIGHTS = np.array([1, 0], np.float32)


@pytest.fixture(scope="module")
def retriever(opened):
    return Retriever(opened)


def test_every_ad_is_found_when_all_are_candidates(opened, student, retriever):
    tree, query = opened.content.tree, retriever.query(encoded(opened, 3))
    request = SearchRequest(query, None, Eligible.of(ADS, excluded=np.arange(10)), WEIGHTS)
    scores = retriever.scorer.score(query, tree.depth, np.arange(10, ADS)) @ WEIGHTS
    best = set(tree.rows[10 + np.argsort(-scores)[:TOP_K]].tolist())
    for search in distilled_sweep(tree, student, 4, [4], [ADS]):
        assert set(search.find(request, retriever.scorer).tolist()) == best, search.params


def test_candidates_are_the_eligible_ads_of_largest_inner_product(opened, student, retriever):
    tree, query = opened.content.tree, retriever.query(encoded(opened, 5))
    order = np.argsort(-(student.vectors @ student.query(query)))
    counter = PairCounter(tree, retriever.scorer)
    [exact] = distilled_sweep(tree, student, 4, [], [20])
    found = exact.find(SearchRequest(query, None, Eligible.of(ADS, excluded=order[:5]), WEIGHTS), counter)
    assert set(found.tolist()) == set(tree.rows[order[5:25]].tolist())
    assert counter.pairs == 20


def test_inputs_hold_spectral_vectors_at_unit_length(opened, retriever):
    query = retriever.query(encoded(opened, 7))
    inputs, width = user_inputs(query), query.embedding.shape[1]
    assert np.array_equal(inputs[:width], query.embedding[0])
    if query.spectral is not None:
        directions = query.spectral.sums.shape[1]
        assert np.linalg.norm(inputs[width:width + directions]) == pytest.approx(1, abs=1e-5)
        assert len(inputs) == width + 2 * directions + 1
