"""Spectral towers of a log: the strongest singular vectors of its normalised clicks, by subspace iteration.

An iteration passes over all clicks twice, once for each tower. As with co-click counts, training reads towers that were
fitted without the users of an example's fold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from index_store.features.ragged import Ragged, distinct
from index_store.features.spectral import SpectralTowers
from index_store.features.spectral_vectors import HEAD, SpectralVectors

_Matrix = Any
"""A `scipy.sparse.csr_array`; scipy has no types."""

ITEM_POWER = 0.35
"""Power of an item's clicks in its vector: 0 favours rare items, 0.5 gives popular ones their full weight."""

MOST_RANK, LARGE = 512, 200_000
"""Directions of the towers, and the items beyond which they are fewer, so that their fit takes linear time."""

OVERSAMPLING, ITERATIONS = 32, 4
"""Directions beyond those wanted, since the last ones converge slowly, and passes over the clicks."""

_DRAWN = 1 << 20
"""Rows of the random start that are drawn at a time."""

ORTHONORMAL_EVERY = 2
"""Iterations between two orthonormal bases, which cost more than the passes; directions stay distinct that long."""


def spectral_towers(histories: Ragged, items: int, seed: int) -> SpectralTowers:
    """Towers of the clicks of some users.

    Args:
        histories: clicked item rows of each user; an item counts once for a user.
        items: of the catalogue.
        seed: of the random start.
    """
    rows, clicked, clicks = _normalised(histories, items)
    vectors, strengths = _right_singular_vectors(rows, clicked, items, _rank(len(histories), items), seed)
    weights = clicks.astype(np.float32)**np.float32(ITEM_POWER)
    vectors = vectors.numpy() * weights[:, None]
    # The last row is that of all items without clicks.
    fitted = SpectralVectors.of(np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)]),
                                np.log1p(np.append(clicks, 0)).astype(np.float32))
    stored, of_items = np.full(items, len(clicked), np.int32), np.ones(items, np.float32)
    stored[clicked] = np.arange(len(clicked), dtype=np.int32)
    of_items[clicked] = weights**-2
    return SpectralTowers(replace(fitted, stored=stored), of_items, strengths.numpy())


def _rank(users: int, items: int) -> int:
    """Directions to keep: MOST_RANK, fewer for a large catalogue, and at most half of what a small log has.

    Beyond those of 8 bits it is an even number, since two of 4 bits share a byte.
    """
    most = MOST_RANK if items <= LARGE else max(64, MOST_RANK * LARGE // items // 64 * 64)
    rank = max(1, min(most, users // 2, items // 2))
    return rank if rank <= HEAD else rank // 2 * 2


def _normalised(histories: Ragged, items: int) -> tuple[_Matrix, NDArray[np.int64], NDArray[np.int64]]:
    """Each click over the root of its user's clicks times its item's, as sparse (users, M); the M items, and clicks."""
    owner = np.repeat(np.arange(len(histories), dtype=np.int64), histories.lengths)
    users, of = np.divmod(distinct(owner * items + histories.values), items)
    clicked, column, clicks = np.unique(of, return_inverse=True, return_counts=True)
    counts = np.bincount(users, minlength=len(histories))
    values = (1 / np.sqrt(counts[users] * clicks[column])).astype(np.float32)
    return sparse.csr_array((values, (users, column)), shape=(len(histories), len(clicked))), clicked, clicks


def _right_singular_vectors(rows: _Matrix, clicked: NDArray[np.int64], items: int, rank: int,
                            seed: int) -> tuple[Tensor, Tensor]:
    """The strongest right singular vectors (M, rank) of a sparse matrix and their singular values (rank,).

    Args:
        rows: (users, M).
        clicked: the item of each column, of all `items`.
    """
    width, columns = min(rank + OVERSAMPLING, rows.shape[0], items), rows.T.tocsr()
    basis = _random_rows(clicked, items, width, torch.Generator().manual_seed(seed))
    for iteration in range(1, ITERATIONS + 1):
        # By scipy: torch's sparse products differ in their last bits from call to call.
        basis = torch.from_numpy(columns @ (rows @ basis.numpy()))
        if iteration % ORTHONORMAL_EVERY == 0:
            basis = _orthonormal(basis)
    users = torch.from_numpy(rows @ basis.numpy())
    squares, rotation = torch.linalg.eigh((users.T @ users).double())
    vectors = basis @ rotation.flip(1)[:, :rank].float()
    return vectors.contiguous(), squares.flip(0)[:rank].clamp(min=0).sqrt().float()


def _random_rows(chosen: NDArray[np.int64], items: int, width: int, random: torch.Generator) -> Tensor:
    """The chosen rows (M,), ascending, of a random matrix (items, width), of which _DRAWN rows are in memory."""
    found = torch.empty(len(chosen), width)
    for first in range(0, items, _DRAWN):
        drawn = torch.randn(min(_DRAWN, items - first), width, generator=random)
        own = slice(*np.searchsorted(chosen, (first, first + len(drawn))))
        found[own] = drawn[torch.from_numpy(chosen[own] - first)]
    return found


def _orthonormal(columns: Tensor) -> Tensor:
    """An orthonormal basis of the same space, by the Gram matrix: many times faster than QR for tall matrices.

    Twice, since once leaves rounding errors. Directions that the clicks do not have become zeros.
    """
    for _ in range(2):
        values, vectors = torch.linalg.eigh((columns.T @ columns).double())
        scale = torch.where(values > 1e-10 * values[-1], values.clamp(min=1e-30).rsqrt(), 0.0)
        columns = columns @ (vectors * scale).float()
    return columns
