"""The graph of a foundation model: logits of pairs, and the interaction embedding that they are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config.errors import ConfigError
from model.network.monn import MoNN
from model.network.wukong import Wukong


class PairEmbedding(nn.Module):
    """Logits and interaction embeddings of one user's pairs with C items, from the parts that a bundle stores.

    The folded parts of users and items begin with their embeddings, which is all that is read of them.

    Args:
        model: not a stack.

    Raises:
        ConfigError: its over-arch is not Wukong.
    """

    def __init__(self, model: MoNN) -> None:
        super().__init__()
        self.layers, self.config = model.scorers[-1], model.config
        if not isinstance(self.layers.over_arch, Wukong):
            raise ConfigError("a foundation model needs the over-arch wukong, whose last tokens are its interaction "
                              "embedding; train it with --over-arch wukong")

    def forward(self, user: Tensor, items: Tensor, interaction: Tensor) -> Tensor:
        """Parts (1, Wu) and (C, Wi), the latter also as float16, and interaction (C, F) -> (C, tasks + H)."""
        users = user[:, :self.config.user_embedding]
        candidates = items[None, :, :self.config.item_embedding].to(torch.float32)
        return torch.cat([self.layers.score(users, candidates, interaction[None]),
                          self.layers.interaction_embedding(users, candidates, interaction[None])], dim=2)[0]
