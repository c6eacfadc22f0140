"""Losses against closed forms."""

import numpy as np
import pytest
import torch

from index_store.features.ragged import Ragged
from model.examples.negatives import NegativeSampler, known_positives
from model.training.losses import impression_loss, sampled_loss


def test_impression_loss_equals_equation_2(tolerance=1e-6):
    logits, labels = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weights = torch.tensor([1.0, 3.0])
    p = torch.sigmoid(logits)
    expected = -(weights * (labels * p.log() + (1 - labels) * (1 - p).log())).sum(1).mean()
    assert float(impression_loss(logits, labels, weights)) == pytest.approx(float(expected), abs=tolerance)


def test_sampled_loss_over_all_other_items_is_the_softmax(tolerance=1e-6):
    torch.manual_seed(0)
    logits, target = torch.randn(4, 9), torch.tensor([3, 0, 8, 5])
    excluded = torch.zeros(4, 9, dtype=torch.bool)
    excluded[torch.arange(4), target] = True
    loss = sampled_loss(logits[torch.arange(4), target][:, None], logits[..., None], torch.ones(4, 1),
                        torch.zeros(4, 9), excluded, torch.ones(1))
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, target)), abs=tolerance)


def test_only_examples_with_the_label_count_for_a_task(tolerance=1e-6):
    positive = torch.tensor([[1.0, 5.0], [2.0, 7.0]], dtype=torch.float64)
    nothing = torch.zeros(2, 1, dtype=torch.bool)
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    loss = sampled_loss(positive, torch.zeros(2, 1, 2), labels, torch.zeros(2, 1), nothing, torch.tensor([1.0, 10.0]))
    one = np.log1p(np.exp(-np.array([1.0, 2.0]))).mean() + 10 * np.log1p(np.exp(-7.0))
    assert float(loss) == pytest.approx(one, abs=tolerance)


def test_log_q_correction_estimates_the_full_sum_without_bias(tolerance=0.02):
    rng = np.random.default_rng(0)
    popularity, scores = rng.integers(0, 50, 40), rng.normal(size=40)
    candidates = NegativeSampler(popularity, 0.5).items(400, 16, 20_000, rng)
    estimates = np.exp(scores[candidates.ids] + candidates.correction).sum(axis=1)
    assert estimates.mean() == pytest.approx(np.exp(scores).sum(), rel=tolerance)


def test_log_q_of_a_node_is_that_of_its_members_together(tolerance=0.02):
    rng = np.random.default_rng(1)
    sampler = NegativeSampler(rng.integers(0, 50, 60), 0.5)
    node_of_row = rng.integers(0, 30, 60)
    node_q = np.bincount(node_of_row, sampler.q, 30)
    scores = np.where(node_q > 0, rng.normal(size=30), -np.inf)
    nodes = sampler.nodes(sampler.items(800, 16, 20_000, rng), node_of_row, node_q)
    estimates = np.exp(scores[nodes.ids] + nodes.correction).sum(axis=1)
    assert estimates.mean() == pytest.approx(np.exp(scores).sum(), rel=tolerance)


def test_a_level_with_few_nodes_is_taken_whole():
    rng = np.random.default_rng(2)
    sampler = NegativeSampler(np.ones(60, int), 1.0)
    nodes = sampler.nodes(sampler.items(3, 16, 100, rng), np.arange(60) % 4, np.full(4, 0.25))
    assert nodes.ids.tolist() == [[0, 1, 2, 3]] * 3
    assert not nodes.correction.any()


def test_known_positives_are_marked_for_their_own_user_only():
    candidates = np.array([[4, 7, 7], [4, 7, 2]])
    liked = Ragged(np.array([0, 2, 2]), np.array([7, 9], np.int32))
    assert known_positives(candidates, 10, liked).tolist() == [[False, True, True], [False, False, False]]
    assert not known_positives(candidates, 10, Ragged(np.array([0, 0, 0]), np.array([], np.int32))).any()
