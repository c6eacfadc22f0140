"""The Wukong over-arch: factorisation machines over compressed tokens, layer upon layer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from model.network.over_arch import OverArch, Terms, cross_products


class Wukong(OverArch):
    """Wukong layers over the tokens of user, item and pair, then a linear head.

    The first layer is `LN(concat(FMB(X), LCB(X)) + W X)` over X = [user; item; pair]. Its factorisation machine takes
    the dot products between tokens of different towers. The linear parts are sums over the three towers, so that a
    pair adds the rank-one term of its single token. Further layers are the plain Wukong layer over the compressed
    tokens.
    """

    def __init__(self, user_tokens: int, item_tokens: int, dim: int, tasks: int, *, fm_tokens: int,
                 linear_tokens: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.fm_tokens, self.dim = fm_tokens, dim
        tokens = fm_tokens + linear_tokens
        products = user_tokens * item_tokens + user_tokens + item_tokens + 1
        self.norm_products = nn.LayerNorm(products)
        self.fm = nn.Sequential(nn.Linear(products, hidden), nn.ReLU(), nn.Linear(hidden, fm_tokens * dim))
        # LCB and residual are both linear over tokens; the residual alone feeds the rows of the FMB.
        self.mix_user = nn.Parameter(torch.randn(tokens, user_tokens) * user_tokens**-0.5)
        self.mix_item = nn.Parameter(torch.randn(tokens, item_tokens) * item_tokens**-0.5)
        self.mix_pair = nn.Parameter(torch.randn(tokens))
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList([WukongLayer(tokens, dim, fm_tokens, hidden) for _ in range(layers - 1)])
        self.head = nn.Linear(tokens * dim, tasks, bias=False)
        self.bias = nn.Parameter(torch.zeros(tasks))

    def heads(self) -> Iterator[Tensor]:
        yield from (self.head.weight, self.bias)

    def user_terms(self, user: Tensor) -> Terms:
        return user, self.mix_user @ user

    def item_terms(self, item: Tensor) -> Terms:
        # One product for all items, not a small one for each.
        return item, (item.transpose(-1, -2) @ self.mix_item.t()).transpose(-1, -2)

    def join(self, user: Terms, item: Terms, pair: Tensor) -> Tensor:
        logits: Tensor = self.head(self.last_tokens(user, item, pair)) + self.bias
        return logits

    def last_tokens(self, user: Terms, item: Terms, pair: Tensor) -> Tensor:
        """What the head reads: the interaction embedding (B, N, tokens x d) of pairs; arguments as for `join`."""
        products = cross_products(user[0], item[0], pair)
        fm = self.fm(self.norm_products(products)).unflatten(2, (self.fm_tokens, self.dim))
        linear = user[1][:, None] + item[1] + pair[:, :, None] * self.mix_pair[:, None]
        tokens = self.norm(linear + nn.functional.pad(fm, (0, 0, 0, len(self.mix_pair) - self.fm_tokens)))
        for layer in self.layers:
            tokens = layer(tokens)
        found: Tensor = tokens.flatten(2)
        return found


class WukongLayer(nn.Module):
    """`LN(concat(FMB(X), LCB(X)) + X)` over n tokens (…, n, d) that keeps their number."""

    def __init__(self, tokens: int, dim: int, fm_tokens: int, hidden: int) -> None:
        super().__init__()
        self.fm_tokens, self.dim = fm_tokens, dim
        self.norm_products = nn.LayerNorm(tokens * tokens)
        self.fm = nn.Sequential(nn.Linear(tokens * tokens, hidden), nn.ReLU(), nn.Linear(hidden, fm_tokens * dim))
        self.mix = nn.Parameter(torch.randn(tokens - fm_tokens, tokens) * tokens**-0.5)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        products = (tokens @ tokens.transpose(-1, -2)).flatten(-2)
        fm = self.fm(self.norm_products(products)).unflatten(-1, (self.fm_tokens, self.dim))
        out: Tensor = self.norm(torch.cat([fm, self.mix @ tokens], dim=-2) + tokens)
        return out
