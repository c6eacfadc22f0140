"""The DeepFM over-arch: a factorisation machine beside a multilayer perceptron, over the same tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.over_arch import OverArch, Terms


class DeepFM(OverArch):
    """`bias + first order + FM(X) + MLP(X)` over X = [user; item; pair], with the tokens as DeepFM's fields.

    The FM takes the dot products between tokens of different towers, each with a weight for every task, since tasks
    want different crossings. A weighted sum of dot products is itself one dot product of an item with what the user's
    tokens add up to, so the FM costs a pair no more than two towers do. The first layer of the MLP and the first order
    are sums over the three towers.
    """

    def __init__(self, user_tokens: int, item_tokens: int, dim: int, tasks: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        scale = (dim * (user_tokens * item_tokens + user_tokens + item_tokens + 1)) ** -0.5
        self.user_item = nn.Parameter(torch.full((tasks, item_tokens, user_tokens), scale))
        self.user_pair = nn.Parameter(torch.full((tasks, user_tokens), scale))
        self.item_pair = nn.Parameter(torch.full((tasks, item_tokens), scale))
        self.pair_pair = nn.Parameter(torch.full((tasks,), scale))
        # The first tasks outputs are the first order, the others enter the MLP.
        self.tasks, width = tasks, tasks + hidden
        self.of_user = nn.Linear(user_tokens * dim, width)
        self.of_item = nn.Linear(item_tokens * dim, width, bias=False)
        self.of_pair = nn.Linear(dim, width, bias=False)
        deeper = [part for _ in range(layers) for part in (nn.Linear(hidden, hidden), nn.ReLU())]
        self.mlp = nn.Sequential(nn.ReLU(), *deeper, nn.Linear(hidden, tasks, bias=False))
        self.bias = nn.Parameter(torch.zeros(tasks))

    def user_terms(self, user: Tensor) -> Terms:
        for_items = torch.einsum("tji,bid->btjd", self.user_item, user).flatten(2)
        return for_items, self.user_pair @ user, self.of_user(user.flatten(1))

    def item_terms(self, item: Tensor) -> Terms:
        return item.flatten(-2), self.item_pair @ item, self.of_item(item.flatten(-2))

    def join(self, user: Terms, item: Terms, pair: Tensor) -> Tensor:
        fm = item[0] @ user[0].transpose(1, 2) + pair @ user[1].transpose(1, 2)
        fm = fm + (item[1] * pair[:, :, None]).sum(-1) + (pair * pair).sum(-1, keepdim=True) * self.pair_pair
        linear = user[2][:, None] + item[2] + self.of_pair(pair)
        logits: Tensor = fm + linear[..., : self.tasks] + self.mlp(linear[..., self.tasks :]) + self.bias
        return logits
