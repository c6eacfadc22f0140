"""MoNN: user tower, item tower, interaction tower and over-arch (Section 2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from index_store.features import FeatureEncoder
from index_store.inputs import table_sizes
from index_store.postings import feature_names
from index_store.ragged import Ragged
from model.config import MoNNConfig
from model.deepfm import DeepFM
from model.dhen import DHEN
from model.over_arch import DotProduct, OverArch
from model.towers import Tables, Tower
from model.wukong import Wukong


class MoNN(nn.Module):
    """The network of one run.

    `level_offsets` (levels above the items, Di) is added to the virtual embedding of a node, so that the one scorer can
    tell a node from an item; it is part of the node embeddings that are exported.

    With `auxiliary` the over-arch has a second head for each task, which learns what a teacher says of unlabeled pairs
    and shares all but its own weights with the main one. It is never served.
    """

    def __init__(self, encoder: FeatureEncoder, config: MoNNConfig, inner_levels: int, *,
                 auxiliary: bool = False) -> None:
        super().__init__()
        spec = encoder.spec
        self.config, self.tasks = config, len(spec.tasks)
        user_sizes, item_sizes = table_sizes(encoder)
        self.user_tables = Tables(user_sizes, config.table_width)
        self.item_tables = Tables(item_sizes, config.table_width)
        self.user_tower = Tower(self.user_tables.width + len(spec.fields("user", "dense")), config.user_hidden,
                                config.user_embedding, config.dropout)
        self.item_tower = Tower(self.item_tables.width + len(spec.fields("item", "dense")), config.item_hidden,
                                config.item_embedding, config.dropout)
        self.interaction_tower = Tower(len(feature_names(spec)), config.pair_hidden, config.dim)
        self.level_offsets = nn.Parameter(torch.zeros(inner_levels, config.item_embedding))
        self.over_arch = _over_arch(config, self.tasks * (1 + auxiliary))

    def embed_users(self, dense: Tensor, bags: Mapping[str, Ragged]) -> Tensor:
        """Dense fields (N, ·) and bags of N users -> (N, Du)."""
        embeddings: Tensor = self.user_tower(torch.cat([dense, self.user_tables(bags)], dim=1))
        return embeddings

    def embed_items(self, dense: Tensor, bags: Mapping[str, Ragged]) -> Tensor:
        """Dense fields (N, ·) and bags of N items -> (N, Di)."""
        embeddings: Tensor = self.item_tower(torch.cat([dense, self.item_tables(bags)], dim=1))
        return embeddings

    def score(self, users: Tensor, items: Tensor, interaction: Tensor, *, auxiliary: bool = False) -> Tensor:
        """Task logits of pairs.

        Args:
            users: (B, Du).
            items: (N, Di) the same candidates for all users, or (B, N, Di) each user's own.
            interaction: (B, N, F).
            auxiliary: those of the auxiliary head.

        Returns:
            (B, N, tasks).
        """
        config = self.config
        user = users.reshape(*users.shape[:-1], config.user_tokens, config.dim)
        item = items.reshape(*items.shape[:-1], config.item_tokens, config.dim)
        logits: Tensor = self.over_arch(user, item, self.interaction_tower(interaction))
        return logits[..., self.tasks :] if auxiliary else logits[..., : self.tasks]

    def sparse_parameters(self) -> list[nn.Parameter]:
        """The embedding tables."""
        return [*self.user_tables.parameters(), *self.item_tables.parameters()]

    def dense_parameters(self) -> list[nn.Parameter]:
        """Everything but the tables."""
        sparse = {id(p) for p in self.sparse_parameters()}
        return [p for p in self.parameters() if id(p) not in sparse]


def _over_arch(config: MoNNConfig, tasks: int) -> OverArch:
    tokens = (config.user_tokens, config.item_tokens, config.dim, tasks)
    hidden, layers = config.over_hidden, config.layers
    match config.over_arch:
        case "dot":
            return DotProduct(*tokens)
        case "deepfm":
            return DeepFM(*tokens, hidden=hidden, layers=layers)
        case "dhen":
            return DHEN(*tokens, tokens=config.fm_tokens + config.linear_tokens, hidden=hidden, layers=layers)
        case "wukong":
            return Wukong(*tokens, fm_tokens=config.fm_tokens, linear_tokens=config.linear_tokens, hidden=hidden,
                          layers=layers)


class Scorer(nn.Module):
    """Interaction tower and over-arch for one user and C candidates: what a bundle's scorer graph computes."""

    def __init__(self, monn: MoNN) -> None:
        super().__init__()
        self.monn = monn

    def forward(self, user_embedding: Tensor, item_embeddings: Tensor, interaction: Tensor) -> Tensor:
        """(1, Du), (C, Di), (C, F) -> (C, tasks)."""
        return self.monn.score(user_embedding, item_embeddings, interaction[None])[0]
