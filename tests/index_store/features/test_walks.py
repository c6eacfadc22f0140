"""Sums by key of random walks against plain loops: by the library, with few and many hits, and without it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.compiled.library import library
from index_store.features.ragged import Ragged
from index_store.features.walks import Walk, reached, reached_by_numpy

WAYS = [reached_by_numpy, pytest.param(reached, marks=pytest.mark.skipif(library().functions is None,
                                                                          reason=library().note))]


def walk_of(random, owners, keys, sources, fan, first):
    """A random walk; weights are those of keys or of sources, and there are recencies or none."""
    reach = Ragged.of([random.integers(0, keys, random.integers(0, fan + 1)) for _ in range(sources)])
    bounds = np.concatenate([[0], np.cumsum(random.integers(0, 6, owners))])
    of_keys = random.random() < 0.5
    weights = random.uniform(0, 2, len(reach.values) if of_keys else bounds[-1]).astype(np.float32)
    return Walk(bounds, random.integers(0, sources, bounds[-1]), reach, weights if of_keys else None,
                None if of_keys else weights,
                random.random(bounds[-1]).astype(np.float32) if random.random() < 0.5 else None, first)


def by_hand(walk, owner):
    """key -> the (weight, recency) of every hit of an owner."""
    hits = {}
    for at in range(walk.bounds[owner], walk.bounds[owner + 1]):
        source = int(walk.sources[at])
        for place in range(walk.reach.indptr[source], walk.reach.indptr[source + 1]):
            weight = walk.of_sources[at] if walk.of_keys is None else walk.of_keys[place]
            recency = 0.0 if walk.recencies is None else walk.recencies[at]
            hits.setdefault(int(walk.reach.values[place]) + walk.first, []).append((float(weight), float(recency)))
    return hits


def check(found, walks, owners):
    assert len(found.indptr) == owners * len(walks) + 1
    assert found.indptr[0] == 0
    for owner in range(owners):
        for number, walk in enumerate(walks):
            expected = by_hand(walk, owner)
            at = slice(*found.indptr[owner * len(walks) + number:][:2])
            assert found.keys[at].tolist() == sorted(expected)
            rows = [[len(hits), sum(w for w, _ in hits), sum(w * w for w, _ in hits), max(w for w, _ in hits),
                     max(r for _, r in hits)] for _, hits in sorted(expected.items())]
            values = [found.matches, found.sums, found.squares, found.best, found.recencies]
            np.testing.assert_allclose(np.stack([column[at] for column in values], axis=1), np.reshape(rows, (-1, 5)),
                                       rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), owners=st.integers(0, 4), walks=st.integers(0, 3),
       keys=st.sampled_from([1, 7, 300, 70_000, 20_000_000]), fan=st.sampled_from([0, 3, 40, 400]))
def test_sums_are_those_of_plain_loops_when_walks_are_random(way, seed, owners, walks, keys, fan):
    random = np.random.default_rng(seed)
    given_walks = [walk_of(random, owners, keys, 5, fan, 10 * number) for number in range(walks)]
    check(way(given_walks, owners), given_walks, owners)


@pytest.mark.skipif(library().functions is None, reason=library().note)
@pytest.mark.parametrize("others", [range(1, 2), range(1_000_000, 1_100_000)])
def test_small_weights_count_beside_a_large_one(others):
    """In doubles; floats that are added one by one lose each of them. By a table, and after a sort."""
    weights = np.full(20_000, 1e-3, np.float32)
    weights[0] = 1e5
    reach = Ragged.of([[0]] * len(weights) + [others])
    walk = Walk(np.array([0, len(reach)]), np.arange(len(reach)), reach,
                np.concatenate([weights, np.ones(len(others), np.float32)]))
    assert np.cumsum(weights)[-1] == weights[0]
    assert reached([walk], 1).sums[0] == pytest.approx(weights[0] + 19.999, abs=0.01)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", [-2, -1, 5, 1 << 40])
def test_a_source_that_is_not_there_is_refused(way, source):
    walk = Walk(np.array([0, 1]), np.array([4]), Ragged.of([[0]] * 5), np.ones(5, np.float32))
    assert way([walk], 1).keys.tolist() == [0]
    with pytest.raises(IndexError):
        way([replace(walk, sources=np.array([source]))], 1)
