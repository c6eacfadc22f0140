"""The over-arch: a small network from a pair's features to its score, trained within each user's candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Lists:
    """Candidates of N users.

    Attributes:
        indptr: (N + 1,) int64; user n's candidates are rows `indptr[n]:indptr[n + 1]`.
        inputs: (P, F) float32 raw inputs, see `Block.inputs`.
        positives: (P,) bool, held-out pairs.
        items: (P,) int64 item rows.
    """

    indptr: NDArray[np.int64]
    inputs: Array
    positives: NDArray[np.bool_]
    items: NDArray[np.int64]


class Head(nn.Module):
    """Scores pairs by their raw inputs.

    Args:
        scores: S, number of scores; inputs are (P, 2 S + 2).
        hidden: width of the one hidden layer.
    """

    level: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, scores: int, hidden: int) -> None:
        super().__init__()
        self.scores = scores
        self.layers = nn.Sequential(nn.Linear(2 * scores + 2, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("level", torch.ones(scores))
        self.register_buffer("mean", torch.zeros(2 * scores + 2))
        self.register_buffer("spread", torch.ones(2 * scores + 2))

    def calibrate(self, inputs: Tensor) -> None:
        """Sets the scaling of the inputs by those of the train pairs (P, 2 S + 2)."""
        self.level.copy_(inputs[:, self.scores:2 * self.scores].mean(dim=0).clamp(min=1e-12))
        prepared = self._prepare(inputs)
        self.mean.copy_(prepared.mean(dim=0))
        self.spread.copy_(prepared.std(dim=0).clamp(min=1e-6))

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, 2 S + 2) raw inputs -> (P,) scores."""
        out: Tensor = self.layers((self._prepare(inputs) - self.mean) / self.spread)[:, 0]
        return out

    def score(self, inputs: Array) -> Array:
        """Like `forward`, on arrays and without gradients."""
        with torch.no_grad():
            scores: Array = self(torch.from_numpy(inputs)).numpy()
        return scores

    def _prepare(self, inputs: Tensor) -> Tensor:
        """Takes logarithms, so that scores far below a user's best are as distinct as those near it."""
        relative, raw = inputs[:, :self.scores], inputs[:, self.scores:2 * self.scores]
        return torch.cat([torch.log1p(10 * relative), torch.log(1e-3 + raw / self.level),
                          inputs[:, 2 * self.scores:]], dim=1)


def train_head(head: Head, lists: Lists, epochs: int, rate: float, users_a_batch: int,
               rng: np.random.Generator) -> list[float]:
    """Softmax cross-entropy of the held-out pairs among their user's candidates; returns the loss of each epoch."""
    inputs, positives = torch.from_numpy(lists.inputs), torch.from_numpy(lists.positives)
    steps = epochs * -(-(len(lists.indptr) - 1) // users_a_batch)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2))
    losses = []
    for _ in range(epochs):
        total, count = 0.0, 0.0
        for rows, owner in _batches(lists.indptr, users_a_batch, rng):
            at = torch.from_numpy(rows)
            logits, wanted = head(inputs[at]), positives[at].float()
            if not wanted.any():
                continue
            loss = (-_log_softmax(logits, torch.from_numpy(owner)) * wanted).sum() / wanted.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total, count = total + loss.item() * wanted.sum().item(), count + wanted.sum().item()
        losses.append(total / max(count, 1.0))
    return losses


def _batches(indptr: NDArray[np.int64], size: int, rng: np.random.Generator,
             ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of a batch of users in random order, and for each row the number of its user within the batch."""
    order = rng.permutation(len(indptr) - 1)
    for first in range(0, len(order), size):
        chosen = order[first:first + size]
        rows = np.concatenate([np.arange(indptr[n], indptr[n + 1]) for n in chosen])
        yield rows, np.repeat(np.arange(len(chosen)), np.diff(indptr)[chosen])


def _log_softmax(logits: Tensor, owner: Tensor) -> Tensor:
    """Within the rows of the same owner (P,)."""
    n = int(owner.max()) + 1
    peak = torch.full((n,), -torch.inf).scatter_reduce(0, owner, logits.detach(), "amax")
    shifted = logits - peak[owner]
    return shifted - torch.zeros(n).index_add(0, owner, shifted.exp()).log()[owner]
