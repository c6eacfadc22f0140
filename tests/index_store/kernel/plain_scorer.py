"""A folded scorer in plain numpy and double precision, and random ones: the truth for the compiled kernel."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import strategies as st

from index_store.compiled.library import LEVELS, Library, library
from index_store.features.spectral import SpectralTowers
from index_store.features.spectral_vectors import HEAD, SpectralVectors
from index_store.kernel.folded_weights import FoldedWeights


def compiled(level=None):
    """The library of this installation, for a set of instructions; skips where the processor has none of them."""
    found = library()
    if found.functions is None:
        assert "without them" in found.note, f"{found.note}; run `make setup`"
        pytest.skip(found.note)
    return found if level is None else Library(found.functions, level, LEVELS[level])


def levels():
    """The sets of instructions that this processor has, each of which the kernel is compiled for."""
    return range(1, compiled().level + 1)


def random_weights(random, *, dim=16, user_tokens=4, item_tokens=4, tokens=4, fm_tokens=2, hidden=(32,), over=64,
                   features=24, tasks=2, user_from=0):
    """Weights of the size that training gives them."""
    def matrix(*shape):
        return (random.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)

    widths = (features, *hidden)
    products = user_tokens * item_tokens + user_tokens + item_tokens + 1
    fm = matrix(over, fm_tokens, dim)
    return FoldedWeights(
        tuple((matrix(ins, outs), matrix(outs)) for ins, outs in pairwise(widths)),
        matrix(widths[-1], dim), matrix(dim), matrix(products, over), matrix(over),
        (fm - fm.mean(axis=2, keepdims=True)).reshape(over, -1), matrix(tokens), matrix(tokens, dim, tasks),
        matrix(widths[-1], tasks), matrix(tasks), np.array([1e-5, 2e-5], np.float32),
        np.array([user_tokens, item_tokens, user_from]))


def plain_logits(weights, user, items, features):
    """What the kernel computes: user (Wu,), items (C, Wi), features (C, F) -> (C, tasks) float64."""
    users, count = int(weights.shape[0]), int(weights.shape[1])
    tokens, dim, _ = weights.head.shape
    user, items, hidden = user[weights.user].astype(float), items.astype(float), features.astype(float)
    for matrix, bias in weights.hidden:
        hidden = np.maximum(hidden @ matrix + bias, 0)
    pair = hidden @ weights.pair + weights.pair_bias
    of_user = user[:users * dim].reshape(users, dim)
    of_item = items[:, :count * dim].reshape(-1, count, dim)
    products = np.concatenate([(of_item @ of_user.T).reshape(len(items), users * count), pair @ of_user.T,
                               np.einsum("njd,nd->nj", of_item, pair), (pair * pair).sum(1, keepdims=True)], axis=1)
    products -= products.mean(axis=1, keepdims=True)
    products /= np.sqrt((products**2).mean(axis=1, keepdims=True) + weights.epsilons[0])
    fm = np.maximum(products @ weights.products + weights.products_bias, 0) @ weights.fm
    x = items[:, count * dim:] + user[users * dim:]
    x = x.reshape(len(items), tokens, dim) + weights.mix[:, None] * (pair - pair.mean(axis=1, keepdims=True))[:, None]
    x[:, :weights.fm.shape[1] // dim] += fm.reshape(len(items), weights.fm.shape[1] // dim, dim)
    x /= np.sqrt((x**2).mean(axis=2, keepdims=True) + weights.epsilons[1])
    return np.einsum("ntd,tdq->nq", x, weights.head) + hidden @ weights.direct + weights.bias


def random_inputs(random, weights, rows, *, half=False):
    """User part (1, Wu), item parts (N, Wi) and features (N, F)."""
    items = random.normal(size=(rows, weights.item_width)).astype(np.float16 if half else np.float32)
    return (random.normal(size=(1, weights.user.stop + 3)).astype(np.float32), items,
            random.uniform(0, 3, (rows, weights.features)).astype(np.float32))


def random_towers(random, rows, width):
    """Spectral towers of items; beyond the 256 directions of 8 bits, a width is made even."""
    width += width % 2 if width > HEAD else 0
    vectors = random.normal(size=(rows, width)).astype(np.float32) / np.arange(1, width + 1, dtype=np.float32)**0.5
    popularity = np.log1p(random.integers(0, 1000, rows)).astype(np.float32)
    strengths = np.sort(random.uniform(0.05, 1, width).astype(np.float32))[::-1]
    return SpectralTowers(SpectralVectors.of(vectors, popularity), random.uniform(0.5, 1, rows).astype(np.float32),
                          np.ascontiguousarray(strengths))


@st.composite
def shapes(draw):
    """Keywords of `random_weights`."""
    tokens = draw(st.integers(1, 6))
    return {"dim": draw(st.integers(1, 20)), "user_tokens": draw(st.integers(1, 9)),
            "item_tokens": draw(st.integers(1, 9)), "tokens": tokens, "fm_tokens": draw(st.integers(1, tokens)),
            "hidden": tuple(draw(st.lists(st.integers(1, 40), max_size=3))), "over": draw(st.integers(1, 70)),
            "features": draw(st.integers(9, 50)), "tasks": draw(st.integers(1, 6)),
            "user_from": draw(st.integers(0, 9))}
