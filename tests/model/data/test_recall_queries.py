"""Who is asked for recall, what counts as found, and the error of a mean."""

import numpy as np
import pytest

from model.data.load import Events
from model.data.recall_queries import RecallQueries, mean_shares
from tests.model.worlds import lists


def log(rows):
    """Events of (user, item, first label, second label)."""
    users, items, *labels = (np.array(column) for column in zip(*rows, strict=True))
    return Events(users.astype(np.int32), items.astype(np.int32), np.zeros(len(users), np.int64),
                  np.stack(labels, axis=1).astype(np.int8))


TRAIN = log([(0, 1, 1, 0), (0, 2, 0, 1), (1, 3, 1, 1), (2, 0, 0, 0)])
TEST = log([(0, 1, 1, 0), (0, 2, 1, 0), (0, 4, 0, 1), (1, 3, 1, 0), (2, 0, 1, 0), (3, 5, 0, 1)])


def test_queries_have_new_ads_of_the_first_task_as_targets():
    queries = RecallQueries.draw(TRAIN, TEST, 5, 0, seed=0)
    targets = {int(user): queries.targets.row(at).tolist() for at, user in enumerate(queries.users)}
    masked = {int(user): queries.masked.row(at).tolist() for at, user in enumerate(queries.users)}
    assert targets == {0: [2], 2: [0]}  # user 1 repeats a click, user 3 has the second task alone, user 4 nothing
    assert masked == {0: [1], 2: []}


def test_as_many_users_are_drawn_as_asked_for_and_the_same_ones_again():
    drawn = [RecallQueries.draw(TRAIN, TEST, 5, 1, seed).users.tolist() for seed in (0, 0, 1, 2, 3, 4, 5)]
    assert all(len(users) == 1 for users in drawn)
    assert drawn[0] == drawn[1]
    assert {users[0] for users in drawn} == {0, 2}


def test_recall_of_answers_is_the_mean_share_of_targets():
    queries = RecallQueries(np.array([7, 9]), lists([[1, 2], [3]]), lists([[], []]))
    assert queries.recall_of([np.array([2, 5]), np.array([4])]) == pytest.approx(0.25)
    assert queries.recall_of([np.array([2, 1])]) == 1.0
    assert queries.recall_of([]) is None


def test_ndcg_of_answers_discounts_by_rank_and_is_relative_to_the_best_possible():
    """By hand: user 7 has 4 targets, of which 2 fit the cut-off of 2; user 9 has one, which was clicked twice."""
    queries = RecallQueries(np.array([7, 9]), lists([[1, 2, 3, 4], [6, 6]]), lists([[], []]))
    second = 1 / np.log2(3)
    assert queries.ndcg_of([np.array([2, 9, 1]), np.array([5, 6])], 2) == pytest.approx(
        (1 / (1 + second) + second) / 2)
    assert queries.ndcg_of([np.array([2, 9, 1])], 3) == pytest.approx((1 + 1 / 2) / (1 + second + 1 / 2))
    assert queries.ndcg_of([np.array([4, 3]), np.array([6])], 2) == pytest.approx(1.0)
    assert queries.ndcg_of([np.array([], np.int64), np.array([1])], 2) == 0.0
    assert queries.ndcg_of([], 20) is None


def test_an_answer_is_ordered_and_shorter_where_the_others_are_masked():
    queries = RecallQueries(np.array([7]), lists([[1]]), lists([[0, 3]]))
    scores = np.array([9, 2, 5, 7, 5], np.float32)
    assert queries.answer(0, scores.copy(), 2).tolist() == [2, 4]
    assert queries.answer(0, scores.copy(), 20).tolist() == [2, 4, 1]


def test_shares_of_scores_pass_over_masked_items_and_break_ties_by_row():
    queries = RecallQueries(np.array([7, 9]), lists([[1, 4], [3]]), lists([[0], [0, 1, 2, 3, 4]]))
    scores = np.array([9, 5, 5, 5, 1], np.float32)
    assert queries.shares(0, scores.copy(), (1, 2, 4)) == [0.5, 0.5, 1.0]
    assert queries.shares(1, scores.copy(), (1, 2, 4)) == [0, 0, 0]


def test_the_error_of_a_mean_is_that_of_independent_users(tolerance=0.02):
    rng = np.random.default_rng(0)
    means = [mean_shares(rng.random((50, 1)), (20,)) for _ in range(4000)]
    spread = np.std([found["recall@20"] for found in means])
    assert np.mean([found["se_recall@20"] for found in means]) == pytest.approx(spread, rel=tolerance)
    assert mean_shares(np.array([[0.5, 1.0]]), (20, 100)) == {
        "recall@20": 0.5, "se_recall@20": None, "recall@100": 1.0, "se_recall@100": None}
