import numpy as np

from model.data.load import Events
from model.data.retrieval_targets import retrieval_targets


def log(rows):
    users, items, labels = (np.array(column) for column in zip(*rows, strict=True))
    return Events(users.astype(np.int32), items.astype(np.int32), np.zeros(len(users), np.int64),
                  labels.astype(np.int8)[:, None])


def test_a_repeated_click_is_masked_and_no_target():
    train = log([(0, 3, 1), (0, 4, 0), (1, 5, 1)])
    test = log([(0, 3, 1), (0, 4, 1), (0, 4, 1), (1, 3, 1), (2, 5, 1), (2, 6, 0)])
    targets, masked = retrieval_targets(train, test, 4)
    assert [targets.row(user).tolist() for user in range(4)] == [[4, 4], [3], [5], []]
    assert [masked.row(user).tolist() for user in range(4)] == [[3], [5], [], []]
    assert targets.indptr.dtype == masked.indptr.dtype == np.int64


def test_there_is_nothing_to_find_when_all_test_clicks_are_repeats():
    train = log([(0, 3, 1), (1, 3, 1)])
    targets, masked = retrieval_targets(train, train, 2)
    assert targets.lengths.tolist() == [0, 0]
    assert masked.lengths.tolist() == [1, 1]
