"""Losses of Section 2: task-weighted cross-entropy on impressions (Equation 2), and its sampled form on positives.

Labels may be soft: with a teacher's probabilities, the same functions compute the loss of Equation 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NEVER = -1e9
"""Logit of a candidate that is excluded; not minus infinity, whose gradient is undefined where all are excluded."""


def impression_loss(logits: Tensor, labels: Tensor, task_weights: Tensor, waiting: Tensor | None = None) -> Tensor:
    """Mean over samples of the task-weighted binary cross-entropy (Equation 2).

    Args:
        logits: (S, tasks).
        labels: (S, tasks) in [0, 1].
        task_weights: (tasks,), or (S, tasks) where a sample counts for some of the tasks.
        waiting: (S, tasks) logarithm of the share 1 - F of the labels that are still to come; None if none is. A sample
            without a label then has the likelihood 1 - F p in the place of 1 - p.
    """
    per_task = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    if waiting is not None:
        per_task = per_task - (1 - labels) * F.softplus(logits + waiting)
    return (per_task * task_weights).sum(1).mean()


def sampled_loss(positive: Tensor, negative: Tensor, labels: Tensor, correction: Tensor, excluded: Tensor,
                 task_weights: Tensor) -> Tensor:
    """Task-weighted cross-entropy of each positive among its group's sampled negatives, with log-Q correction.

    Args:
        positive: (B, P, tasks) logits of each group's own items or nodes.
        negative: (B, M, tasks) logits of its candidates.
        labels: (B, P, tasks); a positive counts for the tasks whose label it has.
        correction: (B, M) of `negatives.Candidates`.
        excluded: (B, M) bool, candidates that are not negatives for this group.
        task_weights: (tasks,).
    """
    corrected = (negative + correction[:, :, None]).masked_fill(excluded[:, :, None], NEVER)
    others = torch.logsumexp(corrected, dim=1, keepdim=True)
    per_task = F.softplus(others - positive)  # = logaddexp(positive, others) - positive
    mean_of_positives = (per_task * labels).sum((0, 1)) / labels.sum((0, 1)).clamp(min=1)
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
