"""A walk of an HNSW graph guided by the scorer."""

import numpy as np

from index_store.targeting.eligibility import Eligible
from loadtest.rivals.baselines import hnsw_index
from loadtest.rivals.graph_walk import MOST_ENTRIES, graph_sweep, ground_level
from loadtest.rivals.queries import encoded
from loadtest.rivals.searches import Exhaustive, SearchRequest
from service.retrieval.retriever import Retriever
from tests.loadtest.small_bench import ADS

WEIGHTS = np.array([1, 0], np.float32)


def test_ground_level_has_the_neighbours_of_every_node_and_none_is_its_own():
    vectors = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    neighbours = ground_level(hnsw_index(vectors, 3))
    assert neighbours.shape == (50, 6)
    assert ((neighbours >= -1) & (neighbours < 50)).all()
    assert not (neighbours == np.arange(50)[:, None]).any()
    assert (neighbours >= 0).any(axis=1).all()


def test_walk_that_keeps_all_returns_the_exhaustive_answer_without_ineligible_ads(opened):
    tree, retriever = opened.content.tree, Retriever(opened)
    vectors = np.asarray(opened.content.embeddings[-1], np.float32)
    [walk] = graph_sweep(tree, vectors, ms=(16,), efs=(ADS,), shares=(1.0,))
    assert 0 < len(walk.entries) <= MOST_ENTRIES
    request = SearchRequest(retriever.query(encoded(opened, 5)), None, Eligible.of(ADS), WEIGHTS)
    best = Exhaustive(tree).find(request, retriever.scorer)
    assert np.array_equal(walk.find(request, retriever.scorer), best)
    fewer = SearchRequest(request.query, None, Eligible.of(ADS, excluded=tree.position_of_row[best[:40]]), WEIGHTS)
    found = walk.find(fewer, retriever.scorer)
    assert np.array_equal(found[:60], best[40:])
    assert not np.isin(best[:40], found).any()
