"""Scores of all items: those of the torch model, item by item."""

import numpy as np
import torch

from model.progress.ranges import ranges_of
from model.tree.item_scores import BestItems, ItemScores, hide


def test_scores_are_those_of_the_model(tiny_run, tolerance=1e-4):
    reader, users, rows = tiny_run.reader, np.array([3, 17]), np.tile(np.arange(80), (2, 1))
    found = ItemScores(reader, tiny_run.clicks, tiny_run.key_index)
    with torch.no_grad():
        batch = reader.users(reader.dataset.users.take(users), tiny_run.clicks.histories(users), tiny_run.key_index)
        expected = reader.score_items(batch, rows, reader.items(rows))[..., 0].numpy()
    for user, scores in zip(users, expected, strict=True):
        assert np.allclose(found.of(int(user)), scores, atol=tolerance)


def test_every_user_is_scored_once_whichever_thread_does_it(tiny_run):
    scores, seen = ItemScores(tiny_run.reader, tiny_run.clicks, tiny_run.key_index, rows=30), {}
    users = np.array([5, 2, 9])
    scores.each(users, lambda place, items, own: seen.setdefault((place, items.first), own), "test")
    assert sorted(seen) == [(place, first) for place in range(3) for first in (0, 30, 60)]
    assert np.array_equal(np.concatenate([seen[2, first] for first in (0, 30, 60)]), scores.of(9))


def test_ranges_of_any_size_give_the_same_scores(tiny_run, tolerance=1e-5):
    whole, parts = (ItemScores(tiny_run.reader, tiny_run.clicks, tiny_run.key_index, rows) for rows in (80, 7))
    assert len(parts.ranges) == 12
    np.testing.assert_allclose(parts.of(5), whole.of(5), atol=tolerance)


def test_the_best_items_of_ranges_are_those_of_all_and_ties_go_to_the_lower_row():
    scores = np.random.default_rng(0).integers(0, 40, (3, 100)).astype(np.float32)
    found = BestItems(3, 10)
    for items in ranges_of(100, 30):
        for place in range(3):
            own = scores[place, items.rows].copy()
            hide(own, items, np.array([4, 33, 99]))
            found.take(place, items, own)
    scores[:, [4, 33, 99]] = -1
    for place in range(3):
        assert found.rows[place].tolist() == np.lexsort((np.arange(100), -scores[place]))[:10].tolist()


def test_scores_are_by_item_row_whatever_the_order_of_the_tree(tiny_run, tolerance=1e-5):
    reader, nodes = tiny_run.reader, tiny_run.nodes()
    alone = ItemScores(reader, tiny_run.clicks, tiny_run.key_index).of(5)
    assert not np.array_equal(nodes.tree.rows, np.arange(80))
    with reader.using_nodes(nodes):  # a model without a stack scores an item alike
        within = ItemScores(reader, tiny_run.clicks, tiny_run.key_index).of(5)
    np.testing.assert_allclose(within, alone, atol=tolerance)
