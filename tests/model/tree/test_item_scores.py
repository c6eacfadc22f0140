"""Scores of all items: those of the torch model, item by item."""

import numpy as np
import torch

from model.tree.item_scores import ItemScores


def test_scores_are_those_of_the_model(tiny_run, tolerance=1e-4):
    reader, users, rows = tiny_run.reader, np.array([3, 17]), np.tile(np.arange(80), (2, 1))
    found = ItemScores(reader, tiny_run.clicks, tiny_run.key_index)
    with torch.no_grad():
        batch = reader.users(reader.dataset.users.take(users), tiny_run.clicks.histories(users), tiny_run.key_index)
        expected = reader.score_items(batch, rows, reader.items(rows))[..., 0].numpy()
    for user, scores in zip(users, expected, strict=True):
        assert np.allclose(found.of(int(user)), scores, atol=tolerance)


def test_every_user_is_scored_once_whichever_thread_does_it(tiny_run):
    scores, seen = ItemScores(tiny_run.reader, tiny_run.clicks, tiny_run.key_index), {}
    users = np.array([5, 2, 9])
    scores.each(users, lambda place, own: seen.setdefault(place, own), "test")
    assert sorted(seen) == [0, 1, 2]
    assert np.array_equal(seen[2], scores.of(9))


def test_scores_are_by_item_row_whatever_the_order_of_the_tree(tiny_run, tolerance=1e-5):
    reader, nodes = tiny_run.reader, tiny_run.nodes()
    alone = ItemScores(reader, tiny_run.clicks, tiny_run.key_index).of(5)
    assert not np.array_equal(nodes.tree.rows, np.arange(80))
    with reader.using_nodes(nodes):  # a model without a stack scores an item alike
        within = ItemScores(reader, tiny_run.clicks, tiny_run.key_index).of(5)
    np.testing.assert_allclose(within, alone, atol=tolerance)
