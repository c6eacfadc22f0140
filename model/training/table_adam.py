"""Adam for embedding tables, of which a batch has gradients for some rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

BETAS, EPSILON = (0.9, 0.999), 1e-8


class TableAdam(torch.optim.Optimizer):
    """What `torch.optim.SparseAdam` does: rows without a gradient stay as they are, and so do their moments.

    It reads and writes the rows where they are, which takes less than half the time of sums of sparse tensors.

    Args:
        tables: (rows, width) each, with sparse gradients.
        lr: learning rate.
    """

    def __init__(self, tables: Iterable[nn.Parameter], lr: float = 1e-3) -> None:
        super().__init__(tables, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step on the gradients that are there."""
        assert closure is None, "no caller has one"
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, *_summed(table.grad), group["lr"])

    def _update(self, table: nn.Parameter, rows: Tensor, values: Tensor, rate: float) -> None:
        state: dict[str, Any] = self.state[table]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(table), "exp_avg_sq": torch.zeros_like(table)}
        state["step"] += 1
        of_mean, of_square = BETAS
        if not len(rows):
            return
        mean, square = (state[name].index_select(0, rows) for name in ("exp_avg", "exp_avg_sq"))
        mean.lerp_(values, 1 - of_mean)
        square.mul_(of_square).addcmul_(values, values, value=1 - of_square)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        size = rate * (1 - of_square ** state["step"]) ** 0.5 / (1 - of_mean ** state["step"])
        table.index_add_(0, rows, mean.div_(square.sqrt_().add_(EPSILON)), alpha=-size)


def _summed(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows (N,) of a sparse gradient, ascending, and their values (N, width)."""
    if gradient.is_coalesced() or len(gradient) > gradient._nnz():
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    # A table smaller than its gradient: in place of a sort of the gradient, a pass over the table.
    ids, values = gradient._indices()[0], gradient._values()
    rows = torch.bincount(ids, minlength=len(gradient)).nonzero()[:, 0]
    return rows, values.new_zeros(gradient.shape).index_add_(0, ids, values).index_select(0, rows)
