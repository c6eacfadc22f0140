"""Outputs of pairs are those that the rest of the offline job knows."""

import numpy as np

from model.data.load import joined
from model.examples.clicks import Clicks
from model.speculation.event_pairs import PairOutputs, mean_of, outputs_of_candidates, outputs_of_events
from model.training.normalized_entropy import impression_logits
from model.tree.item_scores import ItemScores


def test_logits_of_events_are_those_that_ne_is_measured_by(foundation):
    data = foundation.dataset
    clicks = Clicks.of(joined(data.train, data.test), len(data.user_ids))
    found = outputs_of_events(foundation, clicks, data.test, embed=True)
    np.testing.assert_allclose(found.logits, impression_logits(foundation.reader, clicks, foundation.key_index,
                                                               data.test), atol=1e-5)
    head = foundation.model.layer(-1).over_arch.head
    assert found.embeddings.shape == (len(data.test), head.in_features)
    assert outputs_of_events(foundation, clicks, data.test, embed=False).embeddings.shape == (len(data.test), 0)


def test_logits_of_candidates_are_those_of_all_items(served):
    users, rows = np.array([3, 0, 41]), np.array([[5, 79, 0], [1, 2, 3], [7, 8, 5]])
    found = outputs_of_candidates(served, served.clicks, users, rows, embed=True)
    scores = ItemScores(served.reader, served.clicks, served.key_index)
    expected = np.stack([scores.of(user)[own] for user, own in zip(users, rows, strict=True)])
    np.testing.assert_allclose(found.logits[:, 0].reshape(rows.shape), expected, atol=1e-4)
    assert len(found.embeddings) == rows.size


def test_several_runs_are_averaged_and_joined():
    ones = PairOutputs(np.ones((2, 1), np.float32), np.zeros((2, 3), np.float32))
    threes = PairOutputs(np.full((2, 1), 3, np.float32), np.ones((2, 2), np.float32))
    both = mean_of([ones, threes])
    assert both.logits.tolist() == [[2], [2]]
    assert both.embeddings.tolist() == [[0, 0, 0, 1, 1]] * 2
