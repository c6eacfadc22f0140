"""Recall and NDCG against brute force."""

import numpy as np
import pytest

from model.backbone import ranking
from model.backbone.interactions import matrix


def test_recall_and_ndcg_are_those_of_a_brute_force():
    rng = np.random.default_rng(3)
    wanted = matrix(np.repeat(np.arange(40), 3), rng.integers(0, 30, 120), (40, 30))
    top = np.stack([rng.permutation(30)[:5] for _ in range(40)])
    recalls, ndcgs = [], []
    for user in range(40):
        relevant = set(wanted[[user]].indices)
        gains = [1 / np.log2(place + 2) for place, item in enumerate(top[user]) if item in relevant]
        ideal = [1 / np.log2(place + 2) for place in range(min(5, len(relevant)))]
        recalls.append(len(gains) / len(relevant))
        ndcgs.append(sum(gains) / sum(ideal))
    found = ranking.quality(top, wanted)
    assert found.recall == pytest.approx(np.mean(recalls))
    assert found.ndcg == pytest.approx(np.mean(ndcgs))


def test_empty_places_are_not_hits():
    wanted = matrix(np.array([0]), np.array([9]), (1, 10))
    assert ranking.quality(np.array([[-1, 3]]), wanted).recall == 0
    assert ranking.quality(np.array([[-1, 9]]), wanted).recall == 1
