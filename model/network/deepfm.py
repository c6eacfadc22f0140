"""The DeepFM over-arch: a factorisation machine beside a multilayer perceptron, over the same tokens."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from model.network.over_arch import OverArch, Terms


class DeepFM(OverArch):
    """`bias + first order + FM(X) + MLP(X)` over X = [user; item; pair], with the tokens as DeepFM's fields.

    The FM takes the dot products between tokens of different towers, each with a weight for every task, since tasks
    depend on different crossings. A weighted sum of dot products is itself one dot product of an item with a weighted
    sum of the user's tokens, so the FM costs a pair no more than two towers do. The first layer of the MLP and the
    first order are sums over the three towers.
    """

    def __init__(self, user_tokens: int, item_tokens: int, dim: int, tasks: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        scale = (dim * (user_tokens * item_tokens + user_tokens + item_tokens + 1)) ** -0.5
        self.user_item = nn.Parameter(torch.full((tasks, item_tokens, user_tokens), scale))
        self.user_pair = nn.Parameter(torch.full((tasks, user_tokens), scale))
        self.item_pair = nn.Parameter(torch.full((tasks, item_tokens), scale))
        self.pair_pair = nn.Parameter(torch.full((tasks,), scale))
        self.first_user, self.first_item, self.first_pair = (
            nn.Parameter(torch.randn(tasks, tokens * dim) * (tokens * dim) ** -0.5)
            for tokens in (user_tokens, item_tokens, 1))
        self.of_user = nn.Linear(user_tokens * dim, hidden)
        self.of_item = nn.Linear(item_tokens * dim, hidden, bias=False)
        self.of_pair = nn.Linear(dim, hidden, bias=False)
        self.mlp = nn.Sequential(
            nn.ReLU(), *(part for _ in range(layers) for part in (nn.Linear(hidden, hidden), nn.ReLU())))
        self.head = nn.Linear(hidden, tasks, bias=False)
        self.bias = nn.Parameter(torch.zeros(tasks))

    def heads(self) -> Iterator[Tensor]:
        yield from (self.user_item, self.user_pair, self.item_pair, self.pair_pair, self.first_user, self.first_item,
                    self.first_pair, self.head.weight, self.bias)

    def user_terms(self, user: Tensor) -> Terms:
        flat = user.flatten(1)
        for_items = torch.einsum("tji,bid->btjd", self.user_item, user).flatten(2)
        # The factors of a pair's token: the user's side of the FM, and the first order of the pair.
        return for_items, self.user_pair @ user + self.first_pair, flat @ self.first_user.t(), self.of_user(flat)

    def item_terms(self, item: Tensor) -> Terms:
        flat = item.flatten(-2)
        return flat, self.item_pair @ item, flat @ self.first_item.t(), self.of_item(flat)

    def join(self, user: Terms, item: Terms, pair: Tensor) -> Tensor:
        fm = item[0] @ user[0].transpose(1, 2) + pair @ user[1].transpose(1, 2)
        fm = fm + (item[1] * pair[:, :, None]).sum(-1) + (pair * pair).sum(-1, keepdim=True) * self.pair_pair
        deep = self.head(self.mlp(user[3][:, None] + item[3] + self.of_pair(pair)))
        logits: Tensor = fm + deep + user[2][:, None] + item[2] + self.bias
        return logits
