"""HNSW and IVF on vectors whose best inner products are known."""

from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from index_store.targeting.eligibility import Eligible
from loadtest.rivals.baselines import augmented, hnsw_index, hnsw_sweep, ivf_index, ivf_sweep, nearest
from loadtest.rivals.searches import SearchRequest

N, DIM = 200, 8


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    return random.standard_normal((N, DIM)).astype(np.float32) * random.uniform(0.1, 5, (N, 1)).astype(np.float32)


def test_augmented_vectors_are_equally_long_and_keep_their_inner_products(vectors):
    wide = augmented(vectors)
    assert wide.shape == (N, DIM + 1)
    assert np.array_equal(wide[:, :DIM], vectors)
    assert np.allclose(np.linalg.norm(wide, axis=1), np.linalg.norm(vectors, axis=1).max(), rtol=1e-5)


@pytest.mark.parametrize(("build", "parameters"), [
    (lambda wide: hnsw_index(wide, 32), faiss.SearchParametersHNSW(efSearch=N)),
    (lambda wide: ivf_index(wide, 4), faiss.SearchParametersIVF(nprobe=4))])
def test_nearest_are_the_eligible_items_of_largest_inner_product(vectors, build, parameters):
    query = np.random.default_rng(1).standard_normal(DIM).astype(np.float32)
    order = np.argsort(-(vectors @ query))
    eligible = Eligible.of(N, excluded=order[:3])
    found = nearest(build(augmented(vectors)), SearchRequest(None, query, eligible, None), 10, parameters)
    assert set(found.tolist()) == set(order[3:13].tolist())


def test_search_without_a_query_vector_is_refused(vectors):
    with pytest.raises(TypeError, match="needs their query vector"):
        nearest(ivf_index(augmented(vectors), 1), SearchRequest(None, None, Eligible.of(N), None), 10, None)


def test_sweeps_have_every_combination(vectors):
    tree = SimpleNamespace()
    hnsw = hnsw_sweep(tree, vectors, ms=(4, 8), efs=(10, 20), shares=(1.0, 0.5))
    assert {tuple(search.params.values()) for search in hnsw} == {
        (m, ef, round(share * ef)) for m in (4, 8) for ef in (10, 20) for share in (1.0, 0.5)}
    ivf = ivf_sweep(tree, vectors, 5, probes=(1, 5), candidates=(10, 20))
    assert [tuple(search.params.values()) for search in ivf] == [(5, 1, 10), (5, 1, 20), (5, 5, 10), (5, 5, 20)]
