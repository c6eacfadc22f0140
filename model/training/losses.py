"""Losses of Section 2: task-weighted cross-entropy on impressions (Equation 2), and its sampled form on positives.

Labels may be soft: with a teacher's probabilities, the same functions compute the loss of Equation 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def impression_loss(logits: Tensor, labels: Tensor, task_weights: Tensor) -> Tensor:
    """Mean over samples of the task-weighted binary cross-entropy (Equation 2).

    Args:
        logits: (S, tasks).
        labels: (S, tasks) in [0, 1].
        task_weights: (tasks,).
    """
    per_task = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (per_task * task_weights).sum(1).mean()


def sampled_loss(positive: Tensor, negative: Tensor, labels: Tensor, correction: Tensor, excluded: Tensor,
                 task_weights: Tensor) -> Tensor:
    """Task-weighted cross-entropy of the positive among sampled negatives with log-Q correction.

    Args:
        positive: (B, tasks) logits of each example's own item or node.
        negative: (B, M, tasks) logits of its candidates.
        labels: (B, tasks); an example counts for the tasks whose label it has.
        correction: (B, M) of `negatives.Candidates`.
        excluded: (B, M) bool, candidates that are not negatives for this example.
        task_weights: (tasks,).
    """
    corrected = (negative + correction[:, :, None]).masked_fill(excluded[:, :, None], float("-inf"))
    everything = torch.cat([positive[:, None], corrected], dim=1)
    per_task = torch.logsumexp(everything, dim=1) - positive
    mean_of_positives = (per_task * labels).sum(0) / labels.sum(0).clamp(min=1)
    return (mean_of_positives * task_weights).sum()


def listwise_loss(logits: Tensor, shares: Tensor, task_weights: Tensor) -> Tensor:
    """Task-weighted cross-entropy between two distributions over candidates, mean over examples.

    Args:
        logits: (B, M, tasks) of the candidates.
        shares: (B, M, tasks) of a teacher, which sum to 1 over the candidates.
        task_weights: (tasks,).
    """
    per_task = -(shares * torch.log_softmax(logits, dim=1)).sum(1)
    return (per_task * task_weights).sum(1).mean()
