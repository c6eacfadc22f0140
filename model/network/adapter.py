"""The student adapter (ExFM): a small network that corrects a teacher's logits by fresh true labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 16
"""Width of the hidden layer."""

LEAST = 1e-6
"""Probabilities are clipped to [LEAST, 1 - LEAST], whose logits are finite."""


class Adapter(nn.Module):
    """Adds to a teacher's logits of all tasks what a hidden layer makes of them; a new one changes nothing.

    Args:
        tasks: logits of the teacher.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(tasks, HIDDEN), nn.Linear(HIDDEN, tasks)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Probabilities (…, tasks) of a teacher -> logits of the same shape."""
        logits = torch.logit(probabilities, LEAST)
        corrected: Tensor = logits + self.out(torch.relu(self.hidden(logits)))
        return corrected
