"""Engines over vectors whose best inner products are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from index_store.targeting.eligibility import Eligible
from loadtest.rivals.engines import Engine, engine_sweep, scann, usearch, voyager
from loadtest.rivals.searches import SearchRequest

N, DIM = 400, 8


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    return random.standard_normal((N, DIM)).astype(np.float32) * random.uniform(0.5, 2, (N, 1)).astype(np.float32)


@pytest.mark.parametrize("build", [lambda vectors: usearch(vectors, [N]), lambda vectors: voyager(vectors, [N]),
                                   lambda vectors: scann(vectors, 8, [8])], ids=["usearch", "voyager", "scann"])
def test_wide_searches_return_the_largest_inner_products(vectors, build, at_least=0.9):
    [(_, most, nearest)] = build(vectors)
    assert most == N
    found = []
    for query in np.random.default_rng(1).standard_normal((10, DIM)).astype(np.float32):
        best = np.argsort(-(vectors @ query))[:20]
        found.append(np.isin(best, np.asarray(nearest(query, 60))).mean())  # ScaNN's order is that of rounded vectors
    assert np.mean(found) > at_least


def test_ineligible_ads_are_made_up_for(vectors):
    order = np.argsort(-vectors[:, 0])
    tree = SimpleNamespace(n_items=N, depth=1, rows=np.arange(N))
    student = SimpleNamespace(query=lambda query: np.eye(DIM, dtype=np.float32)[0])
    scorer = SimpleNamespace(score=lambda query, level, positions: vectors[positions, :1])
    [(params, _, nearest)] = usearch(vectors, [N])
    request = SearchRequest(None, None, Eligible.of(N, excluded=order[:7]), np.ones(1, np.float32))
    found = Engine(tree, student, nearest, "usearch", params, 10).find(request, scorer)
    assert found.tolist() == order[7:17].tolist()


def test_sweeps_have_every_combination(vectors):
    sweep = engine_sweep(SimpleNamespace(), SimpleNamespace(vectors=vectors), [10, 20], 8, [2, 8], [30, 40])
    assert [(search.kind, search.candidates) for search in sweep] == [
        ("usearch", 10), ("usearch", 20), ("voyager", 10), ("voyager", 20),
        ("scann", 30), ("scann", 40), ("scann", 30), ("scann", 40)]
    assert [search.params["nprobe"] for search in sweep if search.kind == "scann"] == [2, 2, 8, 8]
