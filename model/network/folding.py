"""Folding: the trained scorer in its serving form, with the parts of user and item computed in advance.

Whatever is linear in user, item and pair is split into three parts. The user part is computed once per request, at the
end of the user tower's graph; the item part once per node, and stored in the bundle; only the rest is computed for
every pair. The logits are those of `MoNN.score`; `docs/kernel.md` counts their cost.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from index_store.features.context import ContextTables
from index_store.features.encoder import UNKNOWN
from index_store.kernel.folded_weights import FoldedWeights
from index_store.search.scoring import DenseLayers, Storage
from model.config.monn import MoNNConfig
from model.network.monn import MoNN, PairLayers
from model.network.over_arch import OverArch, Terms
from model.network.towers import InteractionTower, ProductTower
from model.network.wukong import Wukong


class FoldedScorer(nn.Module):
    """One user against C candidates, from precomputed parts."""

    @abstractmethod
    def user_part(self, users: Tensor) -> Tensor:
        """User embeddings (N, Du) -> user parts (N, Wu)."""

    @abstractmethod
    def item_part(self, items: Tensor) -> Tensor:
        """Item or node embeddings (N, Di) -> item parts (N, Wi)."""

    @abstractmethod
    def forward(self, user: Tensor, items: Tensor, interaction: Tensor) -> Tensor:
        """Parts (1, Wu) and (C, Wi), the latter also as float16, and interaction (C, F) -> task logits (C, tasks)."""


class FoldedNetwork(nn.Module):
    """The folded form of a trained network without its auxiliary head, on its device; it shares no parameters with it.

    The user parts of all scorers are concatenated. In a stack a layer's logits are multiplied by its weight in the
    ensemble, and the intercept is added to the bias of the items' layer.
    """

    def __init__(self, monn: MoNN) -> None:
        super().__init__()
        self._scorer_of, self._inputs = monn.scorer_of, monn.scorer_inputs
        shift = monn.intercept / monn.weights[-1] if monn.ensemble else None
        *others, items = monn.scorers
        self._parts = nn.ModuleList([*map(fold_layers, others), fold_layers(items, shift)])
        device = monn.level_offsets.device
        self._no_users, self._no_items = (torch.zeros(1, width, device=device)
                                          for width in (sum(monn.user_widths), monn.item_width))
        widths = [part.shape[1] for part in self._user_parts(self._no_users)]
        self.scorers: list[nn.Module] = [self._part(0)] if len(widths) == 1 else [
            _OneOf(self._part(at), widths, at, monn.weights[at].clone() if monn.ensemble else None)
            for at in range(len(widths))]
        """Of each: user part of all scorers (1, Wu), item parts (C, Wi), interaction (C, F) -> (C, tasks)."""
        self._widths = widths

    def weights(self) -> list[FoldedWeights | None]:
        """What the compiled kernel reads of each scorer; None for those that it does not know."""
        def of(at: int) -> FoldedWeights | None:
            part, scorer = self._part(at), self.scorers[at]
            if not isinstance(part, FoldedWukong) or len(part.further):
                return None
            return part.weights(scorer.weight if isinstance(scorer, _OneOf) else None, sum(self._widths[:at]))

        return [of(at) for at in range(len(self.scorers))]

    def _part(self, at: int) -> FoldedScorer:
        part = self._parts[at]
        assert isinstance(part, FoldedScorer)
        return part

    def _user_parts(self, users: Tensor) -> list[Tensor]:
        return [self._part(at).user_part(self._inputs(at, users, self._no_items)[0]) for at in range(len(self._parts))]

    def user_part(self, users: Tensor) -> Tensor:
        """User embeddings (N, Du) -> (N, Wu), of all scorers."""
        return torch.cat(self._user_parts(users), dim=1)

    def context_parts(self, context: ContextTables) -> ContextTables:
        """Rows that are added to the user parts, as those of the network's context are to user embeddings.

        The part of a user and a context is the sum of both, since user parts are affine in the embedding.
        """
        def part(rows: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
            if rows is None:
                return None
            with torch.no_grad():
                parts = self.user_part(torch.from_numpy(rows))
                parts -= self.user_part(torch.zeros(1, rows.shape[1]))
            found: NDArray[np.float32] = parts.numpy()
            found[UNKNOWN] = 0.0
            return found

        return replace(context, embeddings=tuple(part(rows) for rows in context.embeddings))

    def item_part(self, items: Tensor, level: int | None = None) -> Tensor:
        """Embeddings (N, Di) of nodes of a level, or of items -> (N, Wi) of what scores them."""
        return self.item_part_of(self._scorer_of(level), items)

    def item_part_of(self, scorer: int, items: Tensor) -> Tensor:
        """Embeddings (N, Di) -> (N, Wi) of one of the scorers."""
        return self._part(scorer).item_part(self._inputs(scorer, self._no_users, items)[1])


class _OneOf(nn.Module):
    """One of several scorers: selects its own user part from those of all, and applies its weight in a stack."""

    weight: Tensor | None

    def __init__(self, scorer: FoldedScorer, widths: Sequence[int], at: int, weight: Tensor | None) -> None:
        super().__init__()
        self.scorer, self.first, self.end = scorer, sum(widths[:at]), sum(widths[:at + 1])
        self.register_buffer("weight", weight)

    def forward(self, user: Tensor, items: Tensor, interaction: Tensor) -> Tensor:
        logits: Tensor = self.scorer(user[:, self.first:self.end], items, interaction)
        return logits if self.weight is None else logits * self.weight


def fold_layers(layer: PairLayers, shift: Tensor | None = None) -> FoldedScorer:
    """The folded form of pair layers, their logits increased by `shift` (tasks,)."""
    over_arch, tower = copy.deepcopy(layer.over_arch).cpu(), copy.deepcopy(layer.interaction_tower).cpu()
    tower.absorb()
    for head in (*over_arch.heads(), *tower.heads()):
        head.data = head.data[: layer.tasks].clone()
    device = next(layer.parameters()).device
    with torch.no_grad():
        if shift is not None:
            over_arch.bias.add_(shift.cpu())
        scorer = (FoldedWukong(over_arch, tower, layer.config)
                  if isinstance(over_arch, Wukong) and isinstance(tower, InteractionTower)
                  else FoldedTerms(over_arch, tower, layer.config))
    return scorer.to(device).eval()


class FoldedTerms(FoldedScorer):
    """Any over-arch: the parts are its terms of user and item, concatenated; pairs are joined by the over-arch."""

    def __init__(self, over_arch: OverArch, tower: InteractionTower | ProductTower, config: MoNNConfig) -> None:
        super().__init__()
        self.over_arch, self.interaction_tower = over_arch, tower
        self.user_tokens, self.item_tokens = ((count, config.dim) for count in (config.user_tokens, config.item_tokens))
        self.user_shapes = [term.shape[1:] for term in self.over_arch.user_terms(torch.zeros(1, *self.user_tokens))]
        self.item_shapes = [term.shape[1:] for term in self.over_arch.item_terms(torch.zeros(1, *self.item_tokens))]

    def user_part(self, users: Tensor) -> Tensor:
        terms = self.over_arch.user_terms(users.reshape(-1, *self.user_tokens))
        return torch.cat([term.flatten(1) for term in terms], dim=1)

    def item_part(self, items: Tensor) -> Tensor:
        terms = self.over_arch.item_terms(items.reshape(-1, *self.item_tokens))
        return torch.cat([term.flatten(1) for term in terms], dim=1)

    def forward(self, user: Tensor, items: Tensor, interaction: Tensor) -> Tensor:
        pair, direct = self.interaction_tower(interaction)
        logits: Tensor = self.over_arch.join(_terms(user, self.user_shapes),
                                             _terms(items.to(torch.float32), self.item_shapes), pair[None])[0] + direct
        return logits


def _terms(part: Tensor, shapes: Sequence[torch.Size]) -> Terms:
    """The terms, each in its own shape, of rows (N, ·) in which they are concatenated."""
    cut = torch.split_with_sizes(part, [shape.numel() for shape in shapes], dim=1)
    return tuple(term.reshape(-1, *shape) for term, shape in zip(cut, shapes, strict=True))


class FoldedWukong(FoldedScorer):
    """Wukong with its first layer split, and its layer norms folded into the adjacent matrices.

    With X = [user; item; pair] tokens of width d, and every linear map followed by its centring over d:

        x = user part + item part + pair map(p) + FM out(relu(FM in(centred products) / their deviation))
        token = x / deviation of x, then scale and shift, which the head absorbs where there is one layer

    A sum over a token's d elements is a product with a block matrix, which is many times faster than a reduction.
    """

    mix_user: Tensor
    mix_item: Tensor
    mix_pair: Tensor
    centre: Tensor
    pair: Tensor
    pair_bias: Tensor
    pairs: Tensor
    pairs_bias: Tensor
    token_sums: Tensor
    centre_products: Tensor
    mean_products: Tensor
    products_epsilon: Tensor
    fm_in: Tensor
    fm_in_bias: Tensor
    fm_out: Tensor
    fm_out_bias: Tensor
    pair_map: Tensor
    mean_squares: Tensor
    epsilon: Tensor
    scale: Tensor
    shift: Tensor
    head: Tensor
    whole_head: Tensor
    logit_sums: Tensor
    bias: Tensor

    def __init__(self, arch: Wukong, tower: InteractionTower, config: MoNNConfig) -> None:
        super().__init__()
        self.dim, self.tokens, self.item_tokens, self.user_tokens = (config.dim, len(arch.mix_pair),
                                                                     config.item_tokens, config.user_tokens)
        self.further = arch.layers
        centre = torch.eye(self.dim) - 1 / self.dim
        self.fm_tokens = arch.fm_tokens
        self._keep(mix_user=arch.mix_user, mix_item=arch.mix_item, mix_pair=arch.mix_pair, centre=centre)
        self._keep_pair(tower)
        self._keep_products(arch)
        self._keep_tokens(arch, centre)
        self._keep_head(arch)

    def _keep_pair(self, tower: InteractionTower) -> None:
        """The interaction tower; its hidden layer gives the pair's token, and once more for each item token."""
        ni, last = self.item_tokens, tower.token
        self.pair_hidden, self.direct = tower.hidden, tower.direct
        self._keep(pair=last.weight.T, pair_bias=last.bias, pairs=last.weight.T.repeat(1, ni),
                   pairs_bias=last.bias.repeat(ni), token_sums=torch.kron(torch.eye(ni), torch.ones(self.dim, 1)))

    def _keep_products(self, arch: Wukong) -> None:
        """The centred dot products between tokens, their layer norm, and the input layer of the FM."""
        n, nu, ni = len(arch.norm_products.weight), self.user_tokens, self.item_tokens
        # Products of user and item tokens come item by item here, user by user in the over-arch.
        order = torch.cat([torch.arange(nu * ni).reshape(nu, ni).T.flatten(), torch.arange(nu * ni, n)])
        first = _linear(arch.fm[0])
        self._keep(centre_products=(torch.eye(n) - 1 / n)[order], mean_products=torch.full((n, 1), 1 / n),
                   products_epsilon=torch.tensor([arch.norm_products.eps]),
                   fm_in=(first.weight * arch.norm_products.weight).T,
                   fm_in_bias=first.weight @ arch.norm_products.bias + first.bias)

    def _keep_tokens(self, arch: Wukong, centre: Tensor) -> None:
        """The output layer of the FM, the pair's map and the layer norm of the tokens, all centred."""
        d, tokens, second = self.dim, self.tokens, _linear(arch.fm[2])
        fm_out = torch.zeros(len(_linear(arch.fm[0]).weight), tokens, d)
        fm_out[:, :arch.fm_tokens] = second.weight.T.reshape(-1, arch.fm_tokens, d) @ centre
        fm_bias = torch.zeros(tokens, d)
        fm_bias[:arch.fm_tokens] = second.bias.reshape(arch.fm_tokens, d) @ centre
        self._keep(fm_out=fm_out.flatten(1), fm_out_bias=fm_bias.flatten(),
                   pair_map=(arch.mix_pair[:, None] * centre[:, None]).flatten(1),
                   mean_squares=torch.kron(torch.eye(tokens), torch.full((d, 1), 1 / d)),
                   epsilon=torch.tensor([arch.norm.eps]), scale=arch.norm.weight, shift=arch.norm.bias)

    def _keep_head(self, arch: Wukong) -> None:
        """The head; without further layers it absorbs scale and shift of the layer norm."""
        tokens, tasks = self.tokens, len(arch.head.weight)
        by_token = arch.head.weight.reshape(-1, tokens, self.dim)
        scaled = by_token if len(arch.layers) else by_token * arch.norm.weight
        shifted = 0.0 if len(arch.layers) else (by_token * arch.norm.bias).sum((1, 2))
        # Row (token, element), column (token, task): each token meets its own slice of the head.
        blocks = torch.einsum("ij,qjd->idjq", torch.eye(tokens), scaled)
        self._keep(head=blocks.flatten(0, 1).flatten(1),
                   whole_head=arch.head.weight.T, logit_sums=torch.eye(tasks).repeat(tokens, 1),
                   bias=arch.bias + shifted)

    def weights(self, scale: Tensor | None = None, user_from: int = 0) -> FoldedWeights:
        """The constants as the compiled kernel reads them, of a scorer without further layers.

        Args:
            scale: (tasks,) factor of the logits; None for 1.
            user_from: where its own user part begins in those of a stack.
        """
        hidden = [layer for layer in self.pair_hidden if isinstance(layer, nn.Linear)]
        tokens, d, tasks = self.tokens, self.dim, len(self.bias)
        factor = torch.ones(tasks) if scale is None else scale.cpu()
        blocks = self.head.reshape(tokens, d, tokens, tasks)[torch.arange(tokens), :, torch.arange(tokens)]
        return FoldedWeights.of_arrays({name: values.detach().cpu().numpy() for name, values in {
            **{f"hidden_{at}": layer.weight.T for at, layer in enumerate(hidden)},
            **{f"hidden_{at}_bias": layer.bias for at, layer in enumerate(hidden)},
            "pair": self.pair, "pair_bias": self.pair_bias, "products": self.centre_products @ self.fm_in,
            "products_bias": self.fm_in_bias, "fm": self.fm_out[:, :self.fm_tokens * d], "mix": self.mix_pair,
            "head": blocks * factor, "direct": self.direct.weight.T * factor,
            "bias": (self.bias + self.direct.bias) * factor,
            "epsilons": torch.cat([self.products_epsilon, self.epsilon]),
            "shape": torch.tensor([self.user_tokens, self.item_tokens, user_from])}.items()})

    def _keep(self, **constants: Tensor) -> None:
        for name, value in constants.items():
            self.register_buffer(name, value.detach().clone().contiguous())

    def user_part(self, users: Tensor) -> Tensor:
        tokens = users.reshape(-1, self.user_tokens, self.dim)
        return torch.cat([users, (self.mix_user @ tokens @ self.centre).flatten(1) + self.fm_out_bias], dim=1)

    def item_part(self, items: Tensor) -> Tensor:
        tokens = items.reshape(-1, self.item_tokens, self.dim)
        return torch.cat([items, (self.mix_item @ tokens @ self.centre).flatten(1)], dim=1)

    def forward(self, user: Tensor, items: Tensor, interaction: Tensor) -> Tensor:
        d, width = self.dim, self.item_tokens * self.dim
        items = items.to(torch.float32)
        item, item_linear = torch.split_with_sizes(items, [width, items.shape[1] - width], dim=1)
        user_tokens = user[:, :self.user_tokens * d].reshape(self.user_tokens, d)
        hidden = self.pair_hidden(interaction)
        pair = hidden @ self.pair + self.pair_bias
        pairs = hidden @ self.pairs + self.pairs_bias
        products = torch.cat([(item.reshape(-1, d) @ user_tokens.t()).reshape(-1, self.item_tokens * self.user_tokens),
                              pair @ user_tokens.t(), (item * pairs) @ self.token_sums,
                              (pair * pair).sum(-1, keepdim=True)], dim=1) @ self.centre_products
        deviation = torch.rsqrt(torch.addmm(self.products_epsilon, products * products, self.mean_products))
        fm = torch.relu((products @ self.fm_in) * deviation + self.fm_in_bias)
        x = torch.addmm(torch.addmm(item_linear, pair, self.pair_map), fm, self.fm_out)
        x = x + user[:, self.user_tokens * d:]
        deviation = torch.rsqrt(torch.addmm(self.epsilon, x * x, self.mean_squares))
        if len(self.further):
            tokens = x.reshape(-1, self.tokens, d) * deviation[:, :, None] * self.scale + self.shift
            for layer in self.further:
                tokens = layer(tokens)
            logits: Tensor = tokens.flatten(1) @ self.whole_head + self.bias + self.direct(hidden)
            return logits
        logits = x @ self.head
        tasks = self.bias.shape[0]
        if tasks > 1:
            deviation = deviation[:, :, None].expand(-1, -1, tasks).reshape(-1, self.tokens * tasks)
        logits = torch.addmm(self.bias, logits * deviation, self.logit_sums) + self.direct(hidden)
        return logits


def _linear(layer: nn.Module) -> nn.Linear:
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"expected a linear layer, found a {type(layer).__name__}")
    return layer


def torch_layers(scorers: Sequence[nn.Module], device: torch.device | None = None) -> list[DenseLayers]:
    """Torch modules that take (user (1, Du), items (C, Di), interaction (C, F)), as functions of arrays."""
    def function(scorer: nn.Module) -> DenseLayers:
        def run(user: NDArray[np.float32], items: Storage, interaction: NDArray[np.float32]) -> NDArray[np.float32]:
            parts = (torch.from_numpy(part).to(device) for part in (user, items, interaction))
            with torch.no_grad():
                logits: NDArray[np.float32] = scorer(*parts).cpu().numpy()
            return logits

        return run

    return [function(scorer) for scorer in scorers]
