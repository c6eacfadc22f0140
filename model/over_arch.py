"""Over-architectures: from the tokens of user, item and pair to one logit a task.

Tokens are (…, n, d) slices of the towers' outputs. Everything that depends on the user or on the item alone is computed
once for it and only broadcast over the pairs, in training as in the exported graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OverArch(nn.Module):
    """From (B, nu, d) user, (N, ni, d) or (B, N, ni, d) item and (B, N, d) pair tokens to (B, N, tasks) logits."""

    bias: nn.Parameter

    def start_at(self, logits: Tensor) -> None:
        """Sets the bias of each task (tasks,), so that training starts at the log's base rates."""
        with torch.no_grad():
            self.bias.copy_(logits)


class DotProduct(OverArch):
    """The two-tower baseline (TTSN): a scaled dot product for each task, blind to the pair's token."""

    def __init__(self, user_tokens: int, item_tokens: int, dim: int, tasks: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((tasks, user_tokens * dim), dim**-0.5))
        self.bias = nn.Parameter(torch.zeros(tasks))

    def forward(self, user: Tensor, item: Tensor, pair: Tensor) -> Tensor:
        users = user.flatten(1)[:, None] * self.weight
        return torch.einsum("btw,nw->bnt" if item.ndim == 3 else "btw,bnw->bnt", users, item.flatten(-2)) + self.bias


class Wukong(OverArch):
    """Wukong layers over the tokens of user, item and pair, then a linear head.

    The first layer is `LN(concat(FMB(X), LCB(X)) + W X)` over X = [user; item; pair]. Its factorisation machine takes
    the dot products between tokens of different towers; those within one tower are left to that tower, which sees its
    own features anyhow. The linear parts are sums over the three towers, so that a pair adds the rank-one term of its
    single token. Further layers are the plain Wukong layer over the compressed tokens.
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

    def forward(self, user: Tensor, item: Tensor, pair: Tensor) -> Tensor:
        shared = item.ndim == 3
        user_item = torch.einsum("bid,njd->bnij" if shared else "bid,bnjd->bnij", user, item)
        user_pair = torch.einsum("bid,bnd->bni", user, pair)
        item_pair = torch.einsum("njd,bnd->bnj", item, pair) if shared else (item * pair[:, :, None]).sum(-1)
        products = torch.cat([user_item.flatten(2), user_pair, item_pair, (pair * pair).sum(-1, keepdim=True)], dim=2)
        fm = self.fm(self.norm_products(products)).unflatten(2, (self.fm_tokens, self.dim))
        linear = (self.mix_user @ user)[:, None] + self.mix_item @ item + pair[:, :, None] * self.mix_pair[:, None]
        tokens = self.norm(linear + nn.functional.pad(fm, (0, 0, 0, len(self.mix_pair) - self.fm_tokens)))
        for layer in self.layers:
            tokens = layer(tokens)
        logits: Tensor = self.head(tokens.flatten(2)) + self.bias
        return logits


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
