"""The best items of many users: those of a sort of all scores, from whatever ranges they come."""

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from model.progress.ranges import ranges_of
from model.tree.best_items import BestItems, best_items
from model.tree.item_scores import ItemScores


@pytest.mark.parametrize("joined", [False, True])
def test_the_best_items_of_ranges_are_those_of_all_and_ties_go_to_the_lower_row(joined):
    scores = np.random.default_rng(0).integers(0, 40, (3, 100)).astype(np.float32)
    scores[:, [4, 33, 99]] = -np.inf
    found = BestItems(3, 10)
    for items in ranges_of(100, 30):
        own = BestItems(3, 10) if joined else found
        for place in range(3):
            own.take(place, items, scores[place, items.rows])
        if joined:
            found.join(own)
    for place in range(3):
        assert found.rows[place].tolist() == np.lexsort((np.arange(100), -scores[place]))[:10].tolist()


def test_items_of_minus_infinity_are_never_among_the_best():
    found = BestItems(1, 10)
    found.take(0, ranges_of(4)[0], np.array([1, -np.inf, 3, -np.inf], np.float32))
    assert found.rows[0].tolist() == [2, 0]


@pytest.mark.parametrize("rows", [80, 30])
@pytest.mark.parametrize("score", [-np.inf, -1e9])
def test_masked_items_have_the_score_that_is_given_in_every_range(tiny_run, rows, score):
    scores, users = ItemScores(tiny_run.reader, tiny_run.clicks, tiny_run.key_index, rows), np.array([5, 9])
    masked = [[3, 31, 79], []]
    found = best_items(scores, users, Ragged.of(masked), 80, "test", masked_score=score)
    for user, hidden, best in zip(users, masked, found, strict=True):
        expected = scores.of(user)
        expected[hidden] = score
        order = np.lexsort((np.arange(80), -expected))
        assert best.tolist() == order[expected[order] > -np.inf].tolist()
