"""Gowalla: check-ins from sparse matrices."""

import numpy as np
import pytest
from scipy import sparse

from model.data.load import load_dataset
from model.data.tables import DataError
from model.sources import gowalla


def test_gowalla_when_the_matrices_are_tiny(tmp_path):
    train = sparse.csr_matrix(np.array([[1, 0, 1], [0, 1, 0]]))
    test = sparse.csr_matrix(np.array([[0, 1, 0], [1, 0, 0]]))
    sparse.save_npz(tmp_path / "train.npz", train)
    sparse.save_npz(tmp_path / "test.npz", test)
    gowalla.write(tmp_path, tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert data.users.categorical.shape == (2, 0)
    assert data.train.items.tolist() == [0, 2, 1]
    assert data.test.items.tolist() == [1, 0]
    sparse.save_npz(tmp_path / "test.npz", test[:1])
    with pytest.raises(DataError, match=r"train.npz has shape \(2, 3\), test.npz \(1, 3\)"):
        gowalla.write(tmp_path, tmp_path / "out")
    (tmp_path / "test.npz").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="is not a SciPy sparse matrix"):
        gowalla.write(tmp_path, tmp_path / "out")
