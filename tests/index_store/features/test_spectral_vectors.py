"""Spectral vectors in 8 and 4 bits against the numbers that they stand for."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.features.spectral_vectors import HEAD, SpectralVectors


def stored(rows, directions, seed=1):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, directions)) * rng.choice([1e-6, 1, 3, 50], size=(rows, 1))
    return vectors.astype(np.float32), SpectralVectors.of(vectors.astype(np.float32),
                                                          rng.random(rows).astype(np.float32))


@pytest.mark.parametrize("directions", [0, 1, 7, HEAD, HEAD + 2, 400])
def test_bits_keep_a_vector_to_half_a_step(directions):
    vectors, kept = stored(5000, directions)
    assert (len(kept), kept.directions) == (5000, directions)
    assert np.all(np.abs(kept.dense() - vectors)[:, :HEAD] <= kept.steps[:, None] * 0.501)
    assert np.all(np.abs(kept.dense() - vectors)[:, HEAD:] <= kept.tail_steps[:, None] * 0.501)
    assert (kept.values.dtype, kept.tail.dtype) == (np.int8, np.uint8)
    assert kept.values.nbytes + kept.tail.nbytes == 5000 * (min(directions, HEAD) + max(0, directions - HEAD) // 2)


def test_a_vector_of_zeros_stays_one():
    kept = SpectralVectors.of(np.zeros((3, 300), np.float32), np.zeros(3, np.float32))
    assert not kept.dense().any()


def test_an_odd_number_of_directions_is_refused_where_two_share_a_byte():
    with pytest.raises(ValueError, match="vectors have 301 directions; beyond 256, give an even number"):
        SpectralVectors.of(np.zeros((3, 301), np.float32), np.zeros(3, np.float32))


def test_rows_are_those_of_the_whole():
    _, kept = stored(40, 300)
    rows = np.array([7, 0, 7, 39])
    np.testing.assert_array_equal(kept.dense(rows), kept.dense()[rows])
    for taken, array in zip(kept.take(rows).arrays, kept.arrays, strict=True):
        np.testing.assert_array_equal(taken, array[rows])
    np.testing.assert_array_equal(kept.scaled_tail(rows) * kept.tail_steps[rows, None], kept.dense(rows)[:, HEAD:])


@pytest.mark.parametrize("shared", [False, True])
def test_a_part_is_what_take_gives(shared):
    _, kept = stored(40, 300)
    if shared:
        kept = replace(kept, stored=np.random.default_rng(2).integers(0, 40, 90, dtype=np.int32))
    for part, taken in zip(kept.part(slice(5, 31)).arrays, kept.take(np.arange(5, 31)).arrays, strict=True):
        np.testing.assert_array_equal(part, taken)


@pytest.mark.parametrize("directions", [80, 300])
def test_means_of_groups(directions):
    _, kept = stored(60, directions)
    order, starts = np.random.default_rng(3).permutation(60), np.array([0, 1, 20, 50])
    means = kept.means(order, starts)
    for at, rows in enumerate(np.split(order, starts[1:])):
        off = np.abs(means.dense()[at] - kept.dense()[rows].mean(axis=0))
        assert off[:HEAD].max() <= means.steps[at] * 0.51
        assert off[HEAD:].max(initial=0) <= means.tail_steps[at] * 0.51
        assert means.popularity[at] == kept.popularity[rows].max()


@pytest.mark.parametrize("numbers", [1, 900, 1 << 22])
def test_means_of_groups_whose_members_are_mostly_zero(monkeypatch, numbers):
    monkeypatch.setattr("index_store.features.spectral_vectors._NUMBERS", numbers)
    rng = np.random.default_rng(5)
    vectors = (rng.normal(size=(200, 300)) * (rng.random((200, 1)) < 0.1)).astype(np.float32)
    vectors[:25] = 0  # two groups without any
    kept = SpectralVectors.of(vectors, rng.random(200).astype(np.float32))
    order, starts = np.arange(200), np.array([0, 10, 25, 26, 90, 199])
    expected = np.stack([rows.mean(axis=0) for rows in np.split(kept.dense(), starts[1:])])
    means = kept.means(order, starts)
    np.testing.assert_allclose(means.dense()[:, :HEAD], expected[:, :HEAD], atol=means.steps.max())
    np.testing.assert_allclose(means.dense()[:, HEAD:], expected[:, HEAD:], atol=means.tail_steps.max())
    assert not means.dense()[:2].any()
    assert means.dense()[2:].any(axis=1).sum() == expected[2:].any(axis=1).sum() >= 2
