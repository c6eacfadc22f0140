"""Losses against closed forms."""

import numpy as np
import pytest
import torch

from model.data.label_windows import SETTLED
from model.objective.losses import impression_loss, sampled_loss


def test_impression_loss_equals_equation_2(tolerance=1e-6):
    logits, labels = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weights = torch.tensor([1.0, 3.0])
    p = torch.sigmoid(logits)
    expected = -(weights * (labels * p.log() + (1 - labels) * (1 - p).log())).sum(1).mean()
    assert float(impression_loss(logits, labels, weights)) == pytest.approx(float(expected), abs=tolerance)


def test_a_label_that_may_still_come_has_the_likelihood_of_its_age(tolerance=1e-6):
    logits = torch.tensor([[0.5], [-1.0], [2.0], [2.0]], requires_grad=True)
    labels, came = torch.tensor([[0.0], [0.0], [1.0], [0.0]]), torch.tensor([[0.25], [0.0], [0.25], [1.0]])
    waiting = (1 - came).log().clamp(min=SETTLED)
    p = torch.sigmoid(logits)
    expected = -(labels * p.log() + (1 - labels) * (1 - came * p).log()).mean()
    found = impression_loss(logits, labels, torch.ones(1), waiting)
    assert found.item() == pytest.approx(expected.item(), abs=tolerance)
    found.backward()
    assert logits.grad[1].item() == pytest.approx(0.0, abs=tolerance)  # nothing is known of it yet
    assert torch.isfinite(logits.grad).all()
    settled = torch.full((4, 1), SETTLED)
    assert torch.equal(impression_loss(logits, labels, torch.ones(1), settled),
                       impression_loss(logits, labels, torch.ones(1)))


def test_sampled_loss_over_all_other_items_is_the_softmax(tolerance=1e-6):
    torch.manual_seed(0)
    logits, target = torch.randn(4, 9), torch.tensor([3, 0, 8, 5])
    excluded = torch.zeros(4, 9, dtype=torch.bool)
    excluded[torch.arange(4), target] = True
    loss = sampled_loss(logits[torch.arange(4), target][:, None, None], logits[..., None], torch.ones(4, 1, 1),
                        torch.zeros(4, 9), excluded, torch.ones(1))
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, target)), abs=tolerance)


def test_only_examples_with_the_label_count_for_a_task(tolerance=1e-6):
    positive = torch.tensor([[[1.0, 5.0], [3.0, 9.0]], [[2.0, 7.0], [0.0, 0.0]]], dtype=torch.float64)
    nothing = torch.zeros(2, 1, dtype=torch.bool)
    labels = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]])
    loss = sampled_loss(positive, torch.zeros(2, 1, 2), labels, torch.zeros(2, 1), nothing, torch.tensor([1.0, 10.0]))
    one = np.log1p(np.exp(-np.array([1.0, 3.0, 2.0]))).mean() + 10 * np.log1p(np.exp(-7.0))
    assert float(loss) == pytest.approx(one, abs=tolerance)


def test_a_group_whose_candidates_are_all_excluded_has_no_loss_and_no_gradient():
    positive = torch.zeros(1, 2, 1, requires_grad=True)
    negative = torch.zeros(1, 3, 1, requires_grad=True)
    loss = sampled_loss(positive, negative, torch.ones(1, 2, 1), torch.zeros(1, 3),
                        torch.ones(1, 3, dtype=torch.bool), torch.ones(1))
    loss.backward()
    assert loss.item() == 0
    assert not positive.grad.any()
    assert not negative.grad.any()
