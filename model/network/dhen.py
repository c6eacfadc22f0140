"""The DHEN over-arch: layers that each sum an ensemble of different interaction modules."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from model.network.over_arch import OverArch, Terms


class DHEN(OverArch):
    """DHEN layers over X = [user; item; pair], then a linear head.

    Everything in the first layer that is linear in X is a sum over the three towers, so that a user's and an item's
    shares are their terms.
    """

    def __init__(self, user_tokens: int, item_tokens: int, dim: int, tasks: int, *, tokens: int, hidden: int,
                 layers: int) -> None:
        super().__init__()
        self.user_tokens, self.item_tokens = user_tokens, item_tokens
        self.first = DHENLayer(user_tokens + item_tokens + 1, tokens, dim, hidden)
        self.layers = nn.ModuleList([DHENLayer(tokens, tokens, dim, hidden) for _ in range(layers - 1)])
        self.head = nn.Linear(tokens * dim, tasks, bias=False)
        self.bias = nn.Parameter(torch.zeros(tasks))

    def heads(self) -> Iterator[Tensor]:
        yield from (self.head.weight, self.bias)

    def user_terms(self, user: Tensor) -> Terms:
        return user, self.first.linear(user, 0)

    def item_terms(self, item: Tensor) -> Terms:
        return item, self.first.linear(item, self.user_tokens)

    def join(self, user: Terms, item: Terms, pair: Tensor) -> Tensor:
        pair = pair[:, :, None]
        rows = pair.shape[:2]
        tokens = torch.cat([user[0][:, None].expand(*rows, -1, -1), item[0].expand(*rows, -1, -1), pair], dim=2)
        linear = self.first.linear(pair, self.user_tokens + self.item_tokens)
        tokens = self.first.interact(tokens, linear + user[1][:, None] + item[1])
        for layer in self.layers:
            tokens = layer(tokens)
        logits: Tensor = self.head(tokens.flatten(2)) + self.bias
        return logits


class DHENLayer(nn.Module):
    """`LN(sum of modules(X) + W_s X)`: from n tokens (…, n, d) to m tokens (…, m, d).

    The modules are a cross network, whose input is the shortcut `W_s X`, attention of m queries over the n tokens, and
    an MLP of the dot products of these queries with the tokens, the compressed factorisation machine. Key and query
    matrices of the attention are one, since only their product counts; values are mapped after their weighted sum.
    """

    def __init__(self, n: int, m: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.m, self.dim = m, dim
        self.shortcut = nn.Parameter(torch.randn(m, n) * n**-0.5)
        self.cross = nn.Parameter(torch.randn(n * dim, m * dim) * (n * dim) ** -0.5)
        self.cross_bias = nn.Parameter(torch.zeros(m, dim))
        self.query = nn.Parameter(torch.randn(m, n) * n**-0.5)
        self.query_key = nn.Parameter(torch.randn(dim, dim) * dim**-0.5)
        self.value = nn.Parameter(torch.randn(dim, dim) * dim**-0.5)
        self.norm_products = nn.LayerNorm(m * n)
        self.mlp = nn.Sequential(nn.Linear(m * n, hidden), nn.ReLU(), nn.Linear(hidden, m * dim))
        self.norm = nn.LayerNorm(dim)

    def linear(self, tokens: Tensor, first: int) -> Tensor:
        """The share of some of the tokens in shortcut, cross network and queries.

        Args:
            tokens: (…, some, d), those at `first` and after.

        Returns:
            (…, 3 m, d).
        """
        some = slice(first, first + tokens.shape[-2])
        cross = tokens.flatten(-2) @ self.cross[some.start * self.dim : some.stop * self.dim]
        return torch.cat([self.shortcut[:, some] @ tokens, cross.reshape(*tokens.shape[:-2], self.m, self.dim),
                          self.query[:, some] @ (tokens @ self.query_key)], dim=-2)

    def interact(self, tokens: Tensor, linear: Tensor) -> Tensor:
        """The layer's output, from all tokens and the sum of their `linear` shares."""
        shortcut, cross, queries = torch.split(linear, self.m, dim=-2)
        products = queries @ tokens.transpose(-1, -2)
        attended = torch.softmax(products * self.dim**-0.5, dim=-1) @ tokens @ self.value
        fm = self.mlp(self.norm_products(products.flatten(-2))).unflatten(-1, (self.m, self.dim))
        out: Tensor = self.norm(shortcut + shortcut * (cross + self.cross_bias) + attended + fm)
        return out

    def forward(self, tokens: Tensor) -> Tensor:
        return self.interact(tokens, self.linear(tokens, 0))
