"""The graph of a foundation model: logits of pairs, and the interaction embedding that they are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config.errors import ConfigError
from model.network.folding import FoldedNetwork, FoldedWukong


class PairEmbedding(nn.Module):
    """Logits and interaction embeddings of one user's pairs with C items, from precomputed parts.

    Args:
        folded: the network.

    Raises:
        ConfigError: its over-arch is no Wukong.
    """

    def __init__(self, folded: FoldedNetwork) -> None:
        super().__init__()
        scorer, self._columns = folded.items_scorer()
        if not isinstance(scorer, FoldedWukong):
            raise ConfigError("a foundation model needs the over-arch wukong, whose last tokens are its interaction "
                              "embedding; train it with --over-arch wukong")
        self.scorer = scorer

    def forward(self, user: Tensor, items: Tensor, interaction: Tensor) -> Tensor:
        """As `FoldedScorer.forward`, but (C, tasks + H)."""
        user = user[:, self._columns]
        return torch.cat([self.scorer(user, items, interaction),
                          self.scorer.last_tokens(user, items, interaction)], dim=1)
