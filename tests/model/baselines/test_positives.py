"""Positives of the first task as a matrix, and rankings by anything that scores blocks of users."""

from dataclasses import dataclass

import numpy as np
import pytest

from model.baselines import positives as module
from model.baselines.positives import lengths, positives, shares_of
from model.data.load import Events
from model.data.recall_queries import RecallQueries
from tests.model.worlds import lists


def log(rows):
    """Events of (user, item, first label, second label)."""
    users, items, *labels = (np.array(column) for column in zip(*rows, strict=True))
    return Events(users.astype(np.int32), items.astype(np.int32), np.zeros(len(users), np.int64),
                  np.stack(labels, axis=1).astype(np.int8))


TRAIN = log([(0, 1, 1, 0), (0, 1, 1, 1), (0, 2, 0, 1), (1, 3, 1, 1), (1, 1, 1, 0), (2, 0, 0, 0)])


@dataclass
class Fixed:
    """Scores every user alike."""

    row: np.ndarray

    def scores(self, users):
        return np.tile(self.row, (len(users), 1))


def test_a_pair_counts_once_and_only_with_the_first_label():
    matrix = positives(TRAIN, 4, 5)
    assert matrix.toarray().tolist() == [[0, 1, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert lengths(matrix).tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize("block", [1, 1 << 28])
def test_masked_items_are_passed_over_whatever_the_block(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    queries = RecallQueries(np.array([1, 0]), lists([[4], [4, 0]]), lists([[1, 3], [1]]))
    shares = shares_of(Fixed(np.array([1, 9, 2, 8, 5], np.float32)), positives(TRAIN, 4, 5), queries, (1, 2))
    assert shares.tolist() == [[1, 1], [0, 0.5]]  # user 0 is shown 3, then 4


def test_a_user_without_positives_is_ranked_by_popularity():
    queries = RecallQueries(np.array([2, 2]), lists([[1], [3]]), lists([[], []]))
    shares = shares_of(Fixed(np.array([9, 0, 0, 0, 0], np.float32)), positives(TRAIN, 4, 5), queries, (1, 2))
    assert shares.tolist() == [[1, 1], [0, 1]]
