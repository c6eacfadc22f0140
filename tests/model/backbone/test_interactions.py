"""Splits: what is held out, and which files are refused."""

import numpy as np
import pytest

from model.backbone.interactions import hold_out, lengths, matrix, read_split
from model.data.tables import DataError
from tests.model.backbone.splits import write


def test_a_hold_out_takes_its_share_of_each_user_and_nothing_twice():
    train = matrix(np.repeat([0, 1, 2], [1, 2, 20]), np.concatenate([[5], [1, 2], np.arange(20)]), (4, 30))
    parts = hold_out(train, 0.1, np.random.default_rng(0))
    assert lengths(parts.test).tolist() == [0, 1, 2, 0]
    assert (parts.train + parts.test != train).nnz == 0


@pytest.mark.parametrize(("train", "test", "says"), [
    (np.eye(3), np.eye(3), "3 of the 3 test pairs"), (np.eye(3), np.ones((3, 4)), r"\(3, 3\).*\(3, 4\)"),
    (np.eye(3), np.zeros((3, 3)), "holds no pair")])
def test_a_split_that_is_none_is_refused(tmp_path, train, test, says):
    with pytest.raises(DataError, match=says):
        read_split(write(tmp_path, train, test))


def test_files_that_are_no_matrices_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_split(tmp_path)
    (tmp_path / "train.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="not a scipy sparse matrix"):
        read_split(tmp_path)


def test_users_without_train_items_are_kept_and_counted(tmp_path):
    train, test = np.eye(3), np.roll(np.eye(3), 1, axis=1)
    train[1] = 0
    found = read_split(write(tmp_path, train, test))
    assert (found.without_train, found.train.shape) == (1, (3, 3))
