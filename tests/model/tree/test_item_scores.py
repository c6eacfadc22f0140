"""Scores of all items: those of the torch model, item by item."""

import pickle

import numpy as np
import torch

from model.progress.range_workers import Worker
from model.tree.item_scores import ItemScores


def test_scores_are_those_of_the_model(tiny_run, tolerance=1e-4):
    reader, users, rows = tiny_run.reader, np.array([3, 17]), np.tile(np.arange(80), (2, 1))
    found = ItemScores(reader, tiny_run.clicks, tiny_run.key_index)
    with torch.no_grad():
        batch = reader.users(reader.dataset.users.take(users), tiny_run.clicks.histories(users), tiny_run.key_index)
        expected = reader.score_items(batch, rows, reader.items(rows))[..., 0].numpy()
    for user, scores in zip(users, expected, strict=True):
        assert np.allclose(found.of(int(user)), scores, atol=tolerance)


def test_every_user_is_scored_once_whichever_thread_does_it_and_told(tiny_run):
    scores, seen, told = ItemScores(tiny_run.reader, tiny_run.clicks, tiny_run.key_index, rows=30), {}, []
    users = np.array([5, 2, 9])
    scores.range(scores.ranges[1], users, lambda place, own: seen.setdefault(place, own), Worker(2, told.append))
    assert sorted(seen) == [0, 1, 2]
    assert told == [30, 30, 30]
    assert np.array_equal(seen[2], scores.of(9)[30:60])


def test_a_copy_scores_alike(tiny_run):
    scores = ItemScores(tiny_run.reader, tiny_run.clicks, tiny_run.key_index, rows=30)
    copy = pickle.loads(pickle.dumps(scores))
    assert copy.ranges == scores.ranges
    assert copy.of(9).tobytes() == scores.of(9).tobytes()


def test_ranges_of_any_size_give_the_same_scores(tiny_run, tolerance=1e-5):
    whole, parts = (ItemScores(tiny_run.reader, tiny_run.clicks, tiny_run.key_index, rows) for rows in (80, 7))
    assert len(parts.ranges) == 12
    np.testing.assert_allclose(parts.of(5), whole.of(5), atol=tolerance)


def test_scores_are_by_item_row_whatever_the_order_of_the_tree(tiny_run, tolerance=1e-5):
    reader, nodes = tiny_run.reader, tiny_run.nodes()
    alone = ItemScores(reader, tiny_run.clicks, tiny_run.key_index).of(5)
    assert not np.array_equal(nodes.tree.rows, np.arange(80))
    with reader.using_nodes(nodes):  # a model without a stack scores an item alike
        within = ItemScores(reader, tiny_run.clicks, tiny_run.key_index).of(5)
    np.testing.assert_allclose(within, alone, atol=tolerance)
