"""MoNN: user tower, item tower, interaction tower and over-arch (Section 2), in one layer or a stack (Section 4.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from index_store.features.encoder import FeatureEncoder
from index_store.features.interaction import feature_names
from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import dense_width, table_sizes
from index_store.search.scoring import layer_of_level
from model.config.errors import ConfigError
from model.config.monn import MoNNConfig, StackedLayer
from model.network.context import ContextRows
from model.network.deepfm import DeepFM
from model.network.dhen import DHEN
from model.network.over_arch import DotProduct, OverArch
from model.network.towers import InnerProductLink, InteractionTower, ProductTower, Tables, Tower
from model.network.wukong import Wukong

START = 30.0
"""Weight of the spectral product in new two towers with a link, whose logarithm it is large enough for."""

SIDES: tuple[Literal["user", "item"], ...] = ("user", "item")


class PairLayers(nn.Module):
    """What scores pairs, given the embeddings of both sides: interaction tower and over-arch.

    Args:
        pair: width of the interaction features.
        config: shape.
        tasks: logits of the main head.
        windows: logits of shorter attribution windows (`data/label_windows.py`). They share all but their own weights
            with the main ones, and are never served.
        auxiliary: whether the over-arch has a second head for each task, which learns a teacher's labels and
            shares all but its own weights with the main one. It is never served.
        linked: whether scores of two towers become logits by a link, so that they may start at the spectral product.
    """

    def __init__(self, pair: int, config: MoNNConfig, tasks: int, *, windows: int = 0, auxiliary: bool = False,
                 linked: bool = False) -> None:
        super().__init__()
        self.config, self.tasks, self.windows = config, tasks, windows
        outputs = tasks * (1 + auxiliary) + windows
        self.interaction_tower: InteractionTower | ProductTower = (
            ProductTower(outputs, START if linked else 0.0) if config.over_arch == "dot"
            else InteractionTower(pair, config.pair_hidden, config.dim, outputs))
        self.over_arch = _over_arch(config, outputs)

    def score(self, users: Tensor, items: Tensor, interaction: Tensor, *, windows: bool = False,
              auxiliary: bool = False) -> Tensor:
        """Task logits (B, N, tasks); arguments as those of `MoNN.score`, embeddings of this layer alone."""
        main, other = self.score_both(users, items, interaction)
        return other if auxiliary else main[..., : self.tasks + windows * self.windows]

    def score_both(self, users: Tensor, items: Tensor, interaction: Tensor) -> tuple[Tensor, Tensor]:
        """As `score`: logits of the main head with its windows, and those of the auxiliary one, of width 0 if none."""
        user, item = self._tokens(users, items)
        pair, direct = self.interaction_tower(interaction)
        found: Tensor = self.over_arch(user, item, pair) + direct
        served = self.tasks + self.windows
        return found[..., :served], found[..., served:]

    def interaction_embedding(self, users: Tensor, items: Tensor, interaction: Tensor) -> Tensor:
        """What the over-arch's head reads of pairs, (B, N, H); arguments as for `score`, the over-arch a Wukong."""
        assert isinstance(self.over_arch, Wukong)
        user, item = self._tokens(users, items)
        pair, _ = self.interaction_tower(interaction)
        return self.over_arch.last_tokens(self.over_arch.user_terms(user), self.over_arch.item_terms(item), pair)

    def _tokens(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of both sides as tokens (…, n, d)."""
        config = self.config
        return (users.reshape(*users.shape[:-1], config.user_tokens, config.dim),
                items.reshape(*items.shape[:-1], config.item_tokens, config.dim))

    def heads(self) -> Iterator[Tensor]:
        """The parameters that belong to one logit each: their first axis is that of the logits."""
        yield from self.over_arch.heads()
        yield from self.interaction_tower.heads()


class Layer(PairLayers):
    """The dense layers of a MoNN: three towers and the over-arch.

    Args:
        user, item: columns of the network's inputs that the towers read, int64.
        pair, config, tasks, windows, auxiliary, linked: as for `PairLayers`.
    """

    user_columns: Tensor
    item_columns: Tensor

    def __init__(self, user: Tensor, item: Tensor, pair: int, config: MoNNConfig, tasks: int, *,
                 windows: int, auxiliary: bool, linked: bool = False) -> None:
        super().__init__(pair, config, tasks, windows=windows, auxiliary=auxiliary, linked=linked)
        self.register_buffer("user_columns", user, persistent=False)
        self.register_buffer("item_columns", item, persistent=False)
        self.user_tower = Tower(len(user), config.user_hidden, config.user_embedding, config.dropout)
        self.item_tower = Tower(len(item), config.item_hidden, config.item_embedding, config.dropout)

    def embed_users(self, inputs: Tensor) -> Tensor:
        """The network's inputs of N users (N, ·) -> (N, Du of this layer)."""
        embeddings: Tensor = self.user_tower(_read(inputs, self.user_columns))
        return embeddings

    def embed_items(self, inputs: Tensor) -> Tensor:
        """The network's inputs of N items (N, ·) -> (N, Di of this layer)."""
        embeddings: Tensor = self.item_tower(_read(inputs, self.item_columns))
        return embeddings


class MoNN(nn.Module):
    """The network of one run: embedding tables, and layers that read them.

    Each layer has its own columns in every table, since layers that shared them ranked worse (docs/experiments.md).
    Embeddings of users, items and nodes concatenate those of all layers. `level_offsets` (levels above the items, Di)
    is added to the virtual embedding of a node, so that one scorer can tell a node from an item; it is part of the node
    embeddings that are exported. `context` is there if the log declares context that the model reads.

    Nodes are scored by pair layers of their own, `node_layers`, which start as a copy of the items': shared ones gave
    up some of the order of items for that of nodes (docs/decisions/0043). Towers and tables are shared. Two towers have
    none, since their index is searched by inner product.

    A stack has a layer for some levels above the items and one for the items, coarse to fine: `logit(item) =
    sum_l weight_l logit_l(user, node_l(item)) + intercept`, weights (layers, tasks) and intercept (tasks,) fitted by
    `training.ensemble` (Figure 4). Each layer also ranks the nodes of the levels between its own and that of the layer
    above.
    """

    weights: Tensor
    intercept: Tensor

    def __init__(self, encoder: FeatureEncoder, config: MoNNConfig, inner_levels: int, *,
                 stack: Sequence[StackedLayer] = (), auxiliary: bool = False) -> None:
        super().__init__()
        spec = encoder.spec
        self.config, self.tasks = config, len(spec.tasks)
        self.ensemble = tuple(layer.level for layer in stack)
        user_sizes, item_sizes = table_sizes(encoder)
        windows = len(spec.window_heads)
        linked = config.over_arch == "dot" and spec.negatives == "sampled" and not stack
        shapes = [*(layer.model for layer in stack), config]
        widths, dense = [shape.table_width for shape in shapes], [dense_width(spec, side) for side in SIDES]
        self.user_tables, self.item_tables = Tables(user_sizes, sum(widths)), Tables(item_sizes, sum(widths))
        self.layers = nn.ModuleList(
            Layer(_columns(dense[0], len(user_sizes), widths, at), _columns(dense[1], len(item_sizes), widths, at),
                  len(feature_names(spec)), shape, self.tasks, windows=windows,
                  auxiliary=auxiliary and at == len(stack), linked=linked)
            for at, shape in enumerate(shapes))
        self.node_layers = (PairLayers(len(feature_names(spec)), config, self.tasks, windows=windows)
                            if not stack and config.over_arch != "dot" else None)
        self._link = InnerProductLink(self.tasks) if linked else nn.Identity()
        self.level_offsets = nn.Parameter(torch.zeros(inner_levels, self.item_width))
        if stack:
            self.register_buffer("weights", torch.full((len(self.layers), self.tasks), 1 / len(self.layers)))
            self.register_buffer("intercept", torch.zeros(self.tasks))
        self.context = (ContextRows(encoder, sum(self.user_widths), self.tasks) if spec.model_context else None)

    @property
    def item_width(self) -> int:
        """Width Di of an item embedding, all layers together."""
        return sum(self.item_widths)

    @property
    def item_widths(self) -> list[int]:
        """Width of each layer's item embedding."""
        return [self.layer(at).config.item_embedding for at in range(len(self.layers))]

    @property
    def user_widths(self) -> list[int]:
        """Width of each layer's user embedding."""
        return [self.layer(at).config.user_embedding for at in range(len(self.layers))]

    def layer(self, at: int) -> Layer:
        """A layer by its place in the stack, 0 the coarsest, -1 that of the items."""
        layer = self.layers[at]
        assert isinstance(layer, Layer)
        return layer

    def embed_users(self, dense: Tensor, bags: Mapping[str, Ragged]) -> Tensor:
        """Dense inputs (N, ·) and bags of N users -> (N, Du)."""
        inputs = torch.cat([dense, self.user_tables(bags)], dim=1)
        return torch.cat([self.layer(at).embed_users(inputs) for at in range(len(self.layers))], dim=1)

    def embed_items(self, dense: Tensor, bags: Mapping[str, Ragged]) -> Tensor:
        """Dense inputs (N, ·) and bags of N items -> (N, Di)."""
        inputs = torch.cat([dense, self.item_tables(bags)], dim=1)
        return torch.cat([self.layer(at).embed_items(inputs) for at in range(len(self.layers))], dim=1)

    def users_of(self, layer: int, users: Tensor) -> Tensor:
        """A layer's own part (…, Du of the layer) of user embeddings (…, Du)."""
        return users.split_with_sizes(self.user_widths, dim=-1)[layer]

    def items_of(self, layer: int, items: Tensor) -> Tensor:
        """A layer's own part (…, Di of the layer) of item or node embeddings (…, Di)."""
        return items.split_with_sizes(self.item_widths, dim=-1)[layer]

    def score(self, users: Tensor, items: Tensor, interaction: Tensor, *, level: int | None = None,
              windows: bool = False, auxiliary: bool = False) -> Tensor:
        """Task logits of pairs, by one layer alone.

        Args:
            users: (B, Du).
            items: (N, Di) the same candidates for all users, or (B, N, Di) each user's own.
            interaction: (B, N, F).
            level: of the candidates; None for items.
            windows: whether those of shorter attribution windows follow.
            auxiliary: those of the auxiliary head.

        Returns:
            (B, N, tasks), with `windows` (B, N, tasks + windows).
        """
        at = self.scorer_of(level)
        return self.scorers[at].score(*self.scorer_inputs(at, users, items), interaction, windows=windows,
                                      auxiliary=auxiliary)

    @property
    def scorers(self) -> list[PairLayers]:
        """What scores pairs: of each layer of a stack, coarse to fine; else that of the nodes and that of the items."""
        layers: list[PairLayers] = [self.layer(at) for at in range(len(self.layers))]
        return layers if self.node_layers is None else [self.node_layers, *layers]

    def scorer_of(self, level: int | None) -> int:
        """Which of the `scorers` scores the nodes of a level, or items if None."""
        if level is None:
            return len(self.scorers) - 1
        return 0 if self.node_layers is not None else layer_of_level(self.ensemble, level)

    def scorer_inputs(self, scorer: int, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """What one of the `scorers` reads of user embeddings (…, Du) and of item or node embeddings (…, Di)."""
        layer = scorer if self.node_layers is None else 0
        return self.users_of(layer, users), self.items_of(layer, items)

    @torch.no_grad()
    def start_nodes(self) -> None:
        """Lets nodes be scored as items are, before the first batch that learns from them."""
        if self.node_layers is not None:
            main, own = self.layer(-1).state_dict(), self.node_layers.state_dict()
            for name, value in own.items():
                value.copy_(main[name][:len(value)] if value.ndim else main[name])

    def link(self, scores: Tensor) -> Tensor:
        """Logits (…, tasks) of what `score` returned, in the same order.

        They differ for two towers of a log of positives alone, which are served, and searched, by inner products.
        """
        logits: Tensor = self._link(scores)
        return logits

    def combine(self, logits: Sequence[Tensor]) -> Tensor:
        """The ensemble's logits (…, tasks) of items, from those of each layer, coarse to fine (…, tasks)."""
        if len(logits) == 1:
            return logits[0]
        weighted = torch.stack([weight * own for weight, own in zip(self.weights, logits, strict=True)])
        return weighted.sum(0) + self.intercept

    def calibrate(self, interaction: Tensor) -> None:
        """Standardises the interaction features of all layers by those of some pairs (P, F)."""
        for scorer in self.scorers:
            scorer.interaction_tower.calibrate(interaction)

    def ignore(self, columns: Sequence[int]) -> None:
        """Hides interaction features from all layers from now on, given their columns.

        Raises:
            ConfigError: the model is one of two towers, whose score is made of some of them.
        """
        for tower in (scorer.interaction_tower for scorer in self.scorers):
            if isinstance(tower, ProductTower):
                raise ConfigError("two towers read no interaction features but the spectral ones, which their score is "
                                  "made of; leave `ignored` empty with the over-arch dot")
            tower.ignore(columns)

    def sparse_parameters(self) -> list[nn.Parameter]:
        """The embedding tables."""
        return [*self.user_tables.parameters(), *self.item_tables.parameters()]

    def dense_parameters(self) -> list[nn.Parameter]:
        """Everything but the tables and the context."""
        others = {id(p) for p in self.sparse_parameters()}
        if self.context is not None:
            others |= {id(p) for p in self.context.parameters()}
        return [p for p in self.parameters() if id(p) not in others]


def _read(inputs: Tensor, columns: Tensor) -> Tensor:
    """The columns of inputs (N, ·) that a layer reads; without a copy where these are all, as in a single layer."""
    return inputs if len(columns) == inputs.shape[1] else inputs.index_select(1, columns)


def _columns(dense: int, tables: int, widths: Sequence[int], at: int) -> Tensor:
    """Columns that a layer reads of the network's input: all dense fields, and its own part of each pooled table."""
    own = torch.arange(sum(widths[:at]), sum(widths[:at + 1]))
    starts = dense + sum(widths) * torch.arange(tables)
    return torch.cat([torch.arange(dense), (starts[:, None] + own).flatten()])


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
    """One of a network's scorers, by its share of the ensemble, for one user and C candidates.

    The items' one adds the intercept.
    """

    def __init__(self, monn: MoNN, scorer: int) -> None:
        super().__init__()
        self.monn, self.at = monn, scorer

    def forward(self, user_embedding: Tensor, item_embeddings: Tensor, interaction: Tensor) -> Tensor:
        """(1, Du), (C, Di), (C, F) -> (C, tasks)."""
        monn = self.monn
        parts = monn.scorer_inputs(self.at, user_embedding, item_embeddings)
        logits = monn.scorers[self.at].score(*parts, interaction[None])[0]
        if not monn.ensemble:
            return logits
        share = logits * monn.weights[self.at]
        return share + monn.intercept if self.at == len(monn.layers) - 1 else share
