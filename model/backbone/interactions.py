"""A split of users x items as sparse matrices: reading it, checking it, and holding out a part of the train pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.data.tables import DataError

Matrix = Any
"""A `scipy.sparse.csr_array` of ones, float32, sorted; scipy has no types."""


@dataclass(frozen=True)
class Split:
    """Train and test pairs of the same users and items.

    Attributes:
        train: (users, items) CSR.
        test: (users, items) CSR, no pair of which is in train.
        without_train: users with test items and no train item: kept, for they count in the mean.
    """

    train: Matrix
    test: Matrix
    without_train: int


def read_split(folder: Path) -> Split:
    """Reads `train.npz` and `test.npz`.

    Raises:
        DataError: a file is missing or not a sparse matrix, the shapes differ, or test pairs are in train too.
    """
    train, test = (_read(folder / name) for name in ("train.npz", "test.npz"))
    if train.shape != test.shape:
        raise DataError(f"{folder}: train.npz has shape {train.shape}, test.npz {test.shape}; both are users x items "
                        "of one split")
    both = train.multiply(test).nnz
    if both:
        raise DataError(f"{folder}: {both} of the {test.nnz} test pairs are train pairs too; a pair belongs to one of "
                        "them, so split again")
    for name, matrix in (("train.npz", train), ("test.npz", test)):
        if not matrix.nnz:
            raise DataError(f"{folder / name} holds no pair; fetch it again")
    return Split(train, test, int(((lengths(train) == 0) & (lengths(test) > 0)).sum()))


def hold_out(train: Matrix, share: float, rng: np.random.Generator,
             chances: NDArray[np.float32] | None = None) -> Split:
    """Holds out a share of each user's pairs, at least one for a user with two or more.

    Args:
        train: (users, items) CSR.
        share: of each user's pairs.
        rng: draws them, without replacement.
        chances: (pairs,) weights > 0 of a user's pairs in the draw, in the order of `train`; None for equal ones.
    """
    counts = lengths(train)
    owners = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((rng.exponential(size=train.nnz) / (1 if chances is None else chances), owners))
    rank = np.empty(train.nnz, np.int64)
    rank[order] = np.arange(train.nnz) - train.indptr[owners]
    taken = np.where(counts > 1, np.maximum(1, np.round(counts * share)), 0)
    out = rank < taken[owners]
    kept, held = (matrix(owners[part], train.indices[part], train.shape) for part in (~out, out))
    return Split(kept, held, 0)


def matrix(users: NDArray[np.integer], items: NDArray[np.integer], shape: tuple[int, int]) -> Matrix:
    """Pairs (P,), (P,) in any order, with or without repeats, as a CSR of float32 ones."""
    content = sparse.csr_array((np.ones(len(users), np.float32), (users, items)), shape=shape)
    content.sum_duplicates()
    content.data[:] = 1
    return content


def lengths(rows: Matrix) -> NDArray[np.int64]:
    """Number of pairs of each row: (users,)."""
    counts: NDArray[np.int64] = np.diff(rows.indptr).astype(np.int64)
    return counts


def degrees(rows: Matrix) -> NDArray[np.float32]:
    """Number of pairs of each column, at least 1 because it divides: (items,) float32."""
    return np.maximum(np.bincount(rows.indices, minlength=rows.shape[1]), 1).astype(np.float32)


def scaled(rows: Matrix, left: NDArray[np.float32] | None, right: NDArray[np.float32] | None) -> Matrix:
    """diag(left) rows diag(right), CSR; None for ones."""
    data = rows.data
    if left is not None:
        data = data * np.repeat(left, np.diff(rows.indptr))
    if right is not None:
        data = data * right[rows.indices]
    return sparse.csr_array((data.astype(np.float32), rows.indices, rows.indptr), shape=rows.shape)


def _read(path: Path) -> Matrix:
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a folder with train.npz and test.npz of a LightGCN split")
    try:
        pairs = sparse.coo_array(sparse.load_npz(path))
    except (ValueError, KeyError, OSError, BadZipFile) as error:
        raise DataError(f"{path} is not a scipy sparse matrix: {error}; fetch it again") from error
    kept = pairs.data != 0
    return matrix(pairs.row[kept], pairs.col[kept], pairs.shape)
