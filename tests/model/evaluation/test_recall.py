"""Who is asked for recall, and that masked ads never count."""

import json
from dataclasses import replace

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from model.data.load import Events
from model.evaluation.recall import RecallQueries, recall
from tests.model.runs import TINY, run_of
from tests.model.worlds import dataset, lists


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


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An untrained run over 12 ads, fewer than a cut-off of 20."""
    data = dataset(4, 12, np.arange(12) % 3, [(u, i) for u in range(4) for i in range(3)], [(u, 5) for u in range(4)])
    run = run_of(tmp_path_factory.mktemp("run"), replace(TINY, branching=(2, 2)), data)
    run.model.eval()
    return run


def asked(run, targets, masked, at=(20,)):
    users = np.arange(len(targets))
    return recall(run.reader, run.clicks, run.key_index, users, lists(targets), lists(masked), at)


def test_a_masked_ad_is_no_hit_where_fewer_ads_than_k_are_left(small):
    assert asked(small, [[5], [5]], [[0, 1, 2], [0, 1, 2]]) == {"recall@20": 1.0}
    assert asked(small, [[1, 5], [2, 5]], [[0, 1, 2], [0, 1, 2]]) == {"recall@20": 0.5}
    assert asked(small, [[1], [5]], [list(range(12)), []]) == {"recall@20": 0.5}  # a user who clicked every ad


def test_a_smaller_cut_off_takes_the_best_of_the_others(small):
    every = list(range(12))
    ranked = [row for k in range(1, 13) for row in every if asked(small, [[row]], [[]], (k,))[f"recall@{k}"] == 1
              and (k == 1 or asked(small, [[row]], [[]], (k - 1,))[f"recall@{k - 1}"] == 0)]
    assert sorted(ranked) == every
    assert asked(small, [[ranked[3]]], [ranked[:3]], (1,)) == {"recall@1": 1.0}
    assert asked(small, [[ranked[4]]], [ranked[:3]], (1,)) == {"recall@1": 0.0}


def test_recall_without_users_is_none_and_json(small):
    found = recall(small.reader, small.clicks, small.key_index, np.empty(0, np.int64), Ragged.of([]), Ragged.of([]),
                   (20, 100))
    assert json.dumps(found, allow_nan=False) == '{"recall@20": null, "recall@100": null}'
