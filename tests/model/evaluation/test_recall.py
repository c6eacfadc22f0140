"""Recall of the exhaustive search: masked ads never count."""

import json
from dataclasses import replace

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from model.data.recall_queries import RecallQueries
from model.evaluation.recall import answers, recall
from tests.model.tiny_runs import TINY, run_of
from tests.model.worlds import dataset, lists


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An untrained run over 12 ads, fewer than a cut-off of 20."""
    data = dataset(4, 12, np.arange(12) % 3, [(u, i) for u in range(4) for i in range(3)], [(u, 5) for u in range(4)])
    run = run_of(tmp_path_factory.mktemp("run"), replace(TINY, branching=(2, 2)), data)
    run.model.eval()
    return run


def asked(run, targets, masked, at=(20,)):
    users = np.arange(len(targets))
    found = recall(run.reader, run.clicks, run.key_index, users, lists(targets), lists(masked), at)
    return {name: value for name, value in found.items() if name.startswith("recall")}


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


def test_answers_are_the_items_that_recall_counts_best_first(small):
    queries = RecallQueries(np.arange(2), lists([[5], [6]]), lists([[0, 1, 2], list(range(12))]))
    found = answers(small.reader, small.clicks, small.key_index, queries, 4)
    for k, row in enumerate(found[0].tolist(), 1):
        assert asked(small, [[row]], [[0, 1, 2]], (k,)) == {f"recall@{k}": 1.0}
        assert k == 1 or asked(small, [[row]], [[0, 1, 2]], (k - 1,)) == {f"recall@{k - 1}": 0.0}
    assert len(found[0]) == 4
    assert not len(found[1])


def test_recall_without_users_is_none_and_json(small):
    found = recall(small.reader, small.clicks, small.key_index, np.empty(0, np.int64), Ragged.of([]), Ragged.of([]),
                   (20, 100))
    assert json.dumps(found, allow_nan=False) == json.dumps(dict.fromkeys(
        ("recall@20", "se_recall@20", "recall@100", "se_recall@100")))
