"""The compiled kernel against plain numpy in double precision, over random shapes, at every set of instructions."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.ragged import Ragged
from index_store.features.spectral import SPECTRAL_FEATURES
from index_store.kernel.folded_weights import ShapeError
from index_store.kernel.pair_kernel import PairKernel
from tests.index_store.kernel.plain_scorer import (
    compiled,
    levels,
    plain_logits,
    random_inputs,
    random_towers,
    random_weights,
    shapes,
)

TOLERANCE = 1e-4
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(1, 150), st.booleans(), SEEDS)
def test_logits_are_those_of_plain_numpy_whatever_the_shape(shape, pairs, half, seed):
    random = np.random.default_rng(seed)
    weights = random_weights(random, **shape)
    user, items, features = random_inputs(random, weights, 40, half=half)
    rows = random.integers(0, len(items), pairs)  # unsorted, some of them several times
    expected = plain_logits(weights, user[0], items[rows], features[rows])
    for level in levels():
        found = PairKernel(weights, compiled(level)).rows(user, items, rows, features[rows])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=TOLERANCE)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.sampled_from([0, 1, 7, 300]), st.integers(1, 100), SEEDS)
def test_spectral_features_are_those_of_numpy_whatever_the_rank_and_the_history(width, clicks, pairs, seed):
    random = np.random.default_rng(seed)
    weights, towers = random_weights(random, features=30), random_towers(random, 50, width)
    user, items, features = random_inputs(random, weights, 50)
    queries = towers.queries(Ragged.one_row(random.integers(0, 50, clicks).astype(np.int32)))
    rows = random.integers(0, 50, pairs)
    known = np.ascontiguousarray(features[rows, :-len(SPECTRAL_FEATURES)])
    complete = np.concatenate([known, queries.features(towers.items, rows)[0]], axis=1)
    expected = plain_logits(weights, user[0], items[rows], complete)
    for level in levels():
        found = PairKernel(weights, compiled(level)).rows(user, items, rows, known, (queries, towers.items))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=TOLERANCE)


@pytest.mark.parametrize("pairs", [0, 1, 23, 24, 25, 31, 32, 33, 47, 48, 49, 64, 5000])
def test_every_pair_has_its_logits_where_the_last_block_is_not_full(pairs):
    random = np.random.default_rng(pairs)
    weights = random_weights(random)
    user, items, features = random_inputs(random, weights, pairs)
    for level in levels():
        found = PairKernel(weights, compiled(level))(user, items, features)
        np.testing.assert_allclose(found, plain_logits(weights, user[0], items, features), rtol=1e-5, atol=TOLERANCE)


def test_large_logits_are_as_exact_as_small_ones():
    random = np.random.default_rng(0)
    weights = random_weights(random)
    user, items, features = random_inputs(random, weights, 100)
    for size in (1e-3, 1.0, 1e3):  # nothing is to overflow, and no norm to lose its small values
        expected = plain_logits(weights, user[0] * size, items * np.float32(size), features)
        found = PairKernel(weights, compiled())(user * np.float32(size), items * np.float32(size), features)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=TOLERANCE)


def test_several_threads_get_the_logits_of_one():
    random, library = np.random.default_rng(0), compiled()
    weights, towers = random_weights(random, features=30), random_towers(random, 2000, 64)
    users = [random_inputs(random, weights, 2000) for _ in range(4)]
    queries = [towers.queries(Ragged.one_row(random.integers(0, 2000, 20).astype(np.int32))) for _ in users]
    kernel, rows = PairKernel(weights, library), np.arange(2000)

    def score(at):
        user, items, features = users[at % 4]
        return kernel.rows(user, items, rows, features[:, :22], (queries[at % 4], towers.items))

    alone = [score(at) for at in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for at, found in enumerate(pool.map(score, range(40))):
            np.testing.assert_array_equal(found, alone[at % 4])


@pytest.mark.parametrize("row", [-1, 40, 2**40])
def test_a_row_that_is_no_item_is_refused_wherever_it_stands(row):
    random = np.random.default_rng(0)
    weights = random_weights(random)
    user, items, features = random_inputs(random, weights, 40)
    for place in (0, 39):
        rows = np.arange(40)
        rows[place] = row
        with pytest.raises(IndexError, match="must lie in 0"):
            PairKernel(weights, compiled()).rows(user, items, rows, features)


def test_arrays_of_another_width_are_refused_before_they_are_read():
    random = np.random.default_rng(0)
    weights = random_weights(random)
    kernel = PairKernel(weights, compiled())
    user, items, features = random_inputs(random, weights, 40)
    for wrong in ((user, items[:, 1:], features), (user, items, features[:, 1:]), (user, items, features[1:]),
                  (user[:, :weights.user.stop - 1], items, features)):
        with pytest.raises(ShapeError, match="expected"):
            kernel(*wrong)
