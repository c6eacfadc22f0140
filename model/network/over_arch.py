"""Over-architectures: from the tokens of user, item and pair to one logit a task; the interface, and the dot product.

Tokens are (…, n, d) slices of the towers' outputs. What depends on the user or the item alone is computed once, as its
terms, and only joined for the pairs: in training, in evaluation and in the exported graph (`folding.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

Terms = tuple[Tensor, ...]
"""Inputs of `OverArch.join`: tensors whose first axes are those of the users or items."""


class OverArch(nn.Module):
    """From (B, nu, d) user, (N, ni, d) or (B, N, ni, d) item and (B, N, d) pair tokens to (B, N, tasks) logits."""

    bias: nn.Parameter

    @abstractmethod
    def user_terms(self, user: Tensor) -> Terms:
        """Terms of user tokens (B, nu, d)."""

    @abstractmethod
    def item_terms(self, item: Tensor) -> Terms:
        """Terms of item tokens (…, ni, d)."""

    @abstractmethod
    def join(self, user: Terms, item: Terms, pair: Tensor) -> Tensor:
        """Logits (B, N, tasks) of pairs, from terms of B users, of N items or of (B, N) items, and pairs (B, N, d)."""

    def forward(self, user: Tensor, item: Tensor, pair: Tensor) -> Tensor:
        return self.join(self.user_terms(user), self.item_terms(item), pair)

    @abstractmethod
    def heads(self) -> Iterator[Tensor]:
        """The parameters that belong to one output each: their first axis is that of the outputs."""

    def start_at(self, logits: Tensor, tasks: int | None = None) -> None:
        """Sets the biases, so that training starts at the log's base rates.

        Args:
            logits: (tasks + windows,), those of shorter windows last. An auxiliary head starts as the tasks do.
            tasks: how many there are; None if there are no windows.
        """
        with torch.no_grad():
            self.bias.copy_(torch.cat([logits, logits[:tasks]])[:len(self.bias)])


class DotProduct(OverArch):
    """The two-tower baseline (TTSN): a scaled dot product for each task, which ignores the pair's token."""

    def __init__(self, user_tokens: int, item_tokens: int, dim: int, tasks: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((tasks, user_tokens * dim), dim**-0.5))
        self.bias = nn.Parameter(torch.zeros(tasks))

    def heads(self) -> Iterator[Tensor]:
        yield from (self.weight, self.bias)

    def user_terms(self, user: Tensor) -> Terms:
        return (user.flatten(1)[:, None] * self.weight,)

    def item_terms(self, item: Tensor) -> Terms:
        return (item.flatten(-2),)

    def join(self, user: Terms, item: Terms, pair: Tensor) -> Tensor:
        return item[0] @ user[0].transpose(1, 2) + self.bias


def cross_products(user: Tensor, item: Tensor, pair: Tensor) -> Tensor:
    """Dot products of tokens of different towers, and the pair's with itself: (B, N, nu ni + nu + ni + 1).

    Products within one tower are left out, since that tower can learn them itself.

    Args:
        user: (B, nu, d).
        item: (N, ni, d) or (B, N, ni, d).
        pair: (B, N, d).
    """
    shared = item.ndim == 3
    user_item = torch.einsum("bid,njd->bnij" if shared else "bid,bnjd->bnij", user, item)
    user_pair = torch.einsum("bid,bnd->bni", user, pair)
    item_pair = torch.einsum("njd,bnd->bnj", item, pair) if shared else (item * pair[:, :, None]).sum(-1)
    return torch.cat([user_item.flatten(2), user_pair, item_pair, (pair * pair).sum(-1, keepdim=True)], dim=2)
