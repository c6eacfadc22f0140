"""User, item and interaction tower: pooled embedding tables, then dense layers.

The dense layers alone go into the ONNX graphs; the tables are exported as arrays that
`index_store.features.tower_inputs` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from index_store.features.ragged import Ragged
from index_store.features.spectral import PRODUCTS, RAW_OFFSET, RELATIVE_FACTOR, SPECTRAL_FEATURES

_SMALL = -15.0

_BITS = 1 << 16
"""Numbers of 16 bits."""

INITIAL_SCALE = 0.01
"""Standard deviation of a new table row: small, so that a value never seen has next to no effect."""


class Tables(nn.Module):
    """Embedding tables of a tower; a bag's rows are summed and divided by the square root of their number."""

    def __init__(self, sizes: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.names = list(sizes)
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(rows, width) * INITIAL_SCALE)
                                        for rows in sizes.values())

    @property
    def width(self) -> int:
        """Width of the pooled vector of all tables."""
        return sum(weight.shape[1] for weight in self.weights)

    def forward(self, bags: Mapping[str, Ragged]) -> Tensor:
        """Bags of N rows a table -> (N, width) float32."""
        device = self.weights[0].device
        pooled = []
        for name, weight in zip(self.names, self.weights, strict=True):
            indptr = torch.from_numpy(bags[name].indptr).to(device)
            ids = torch.from_numpy(bags[name].values.astype("int64")).to(device)
            sums = nn.functional.embedding_bag(ids, weight, indptr, mode="sum", sparse=True, include_last_offset=True)
            pooled.append(sums if bags[name].one_each else sums / indptr.diff().clamp(min=1).sqrt()[:, None])
        return torch.cat(pooled, dim=1)

    def arrays(self) -> dict[str, Tensor]:
        """Table name -> (rows, width) float32."""
        return {name: weight.detach() for name, weight in zip(self.names, self.weights, strict=True)}


class Dropout(nn.Module):
    """Zeroes a share of the inputs in training, and scales the others up, as `nn.Dropout` does.

    It draws 16 bits for each input, which takes a sixth of the time, and rounds the share to their number.

    Args:
        share: in [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._dropped = min(round(share * _BITS), _BITS - 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of any shape -> the same."""
        if not self.training:
            return inputs
        drawn = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64, device=inputs.device).random_(-2**63, None)
        kept = drawn.view(torch.int16)[:inputs.numel()].view(inputs.shape) >= self._dropped - _BITS // 2
        return inputs * kept.to(inputs.dtype).mul_(_BITS / (_BITS - self._dropped))


class Tower(nn.Module):
    """Dense layers from a tower's input (N, width) to an embedding (N, out), read as tokens by the over-arch."""

    def __init__(self, width: int, hidden: Sequence[int], out: int, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = [Dropout(dropout)] if dropout else []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU()]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, out))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


class InteractionTower(nn.Module):
    """From the interaction features of a pair to its token, and straight to its logits.

    The features are standardised first. The straight path lets a few strong features rank without the detour through
    the over-arch, whose layer norms hide their scale.

    Args:
        width: F of the features.
        hidden: widths of the hidden layers.
        dim: of the token.
        outputs: logits.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, hidden: Sequence[int], dim: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU()]
            width = size
        self.hidden = nn.Sequential(*layers)
        self.token, self.direct = nn.Linear(width, dim), nn.Linear(width, outputs)
        nn.init.zeros_(self.direct.weight)  # so that training starts at the over-arch's base rates
        nn.init.zeros_(self.direct.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (…, F) -> tokens (…, dim) and logits (…, outputs)."""
        hidden = self.hidden((features - self.mean) / self.deviation)
        return self.token(hidden), self.direct(hidden)

    def calibrate(self, features: Tensor) -> None:
        """Standardises by the features of some pairs (P, F); a constant feature is only centred."""
        deviation = features.std(dim=0, correction=min(1, len(features) - 1))
        self.mean.copy_(features.mean(dim=0))
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def ignore(self, columns: Sequence[int]) -> None:
        """Hides features from now on: over an infinite deviation all their values are the mean."""
        self.deviation[list(columns)] = torch.inf

    def heads(self) -> Iterator[Tensor]:
        """The parameters whose first axis is that of the logits."""
        yield from (self.direct.weight, self.direct.bias)

    @torch.no_grad()
    def absorb(self) -> None:
        """Moves the standardisation into the layers that read the features."""
        first = [layer for layer in self.hidden if isinstance(layer, nn.Linear)][:1] or [self.token, self.direct]
        for layer in first:
            layer.weight.div_(self.deviation)
            layer.bias.sub_(layer.weight @ self.mean)
        self.mean.zero_()
        self.deviation.fill_(1.0)


class ProductTower(nn.Module):
    """The pair's tower of two towers, in the place of the interaction tower: it keeps their score an inner product.

    Of the interaction features it reads the spectral ones alone, as the numbers they are the logarithms of. Each is a
    product of a user's vector with an item's, or belongs to one of the two; a product below zero counts as zero. Its
    weights learn `GAIN` times as fast as others, since a ranking of its own needs large ones.

    Args:
        outputs: logits.
        start: weight of the full product in a new tower, in its own unit, the mean product of the user's own items.
    """

    GAIN = 20.0
    deviation: Tensor

    def __init__(self, outputs: int, start: float = 0.0) -> None:
        super().__init__()
        self._start = start
        self.register_buffer("deviation", torch.ones(len(SPECTRAL_FEATURES)))
        self.weight = nn.Parameter(torch.zeros(outputs, len(SPECTRAL_FEATURES)))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (…, F) -> tokens of width 0 and logits (…, outputs)."""
        return features[..., :0], _as_numbers(features) @ self.linear_weights().t()

    def linear_weights(self) -> Tensor:
        """Weights (outputs, len(SPECTRAL_FEATURES)) of the numbers as they are."""
        return self.weight * (self.GAIN / self.deviation)

    @torch.no_grad()
    def calibrate(self, features: Tensor) -> None:
        """Scales by the features of some pairs (P, F), and sets the weights to those of a new tower."""
        deviation = _as_numbers(features).std(dim=0, correction=min(1, len(features) - 1))
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))
        full = SPECTRAL_FEATURES.index("spectral.full")
        self.weight.zero_()
        self.weight[:, full] = self._start * self.deviation[full] / self.GAIN

    def heads(self) -> Iterator[Tensor]:
        """The parameters whose first axis is that of the logits."""
        yield self.weight

    @torch.no_grad()
    def absorb(self) -> None:
        """Moves the scale into the weights."""
        self.weight.copy_(self.linear_weights())
        self.deviation.fill_(self.GAIN)


class InnerProductLink(nn.Module):
    """From the inner products of two towers to logits, in the same order: exponent * log(softplus(product)).

    Spectral products have a long tail. A softmax over them as they are is far from the clicks whatever their scale, and
    training then gives up their order; over their logarithm it is not (docs/decisions/0037).

    Args:
        outputs: logits.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.ones(outputs))

    def forward(self, products: Tensor) -> Tensor:
        """Inner products (…, outputs) -> logits (…, outputs)."""
        # Far below zero the logarithm is the product itself, but softplus is too small for a float.
        small = products < _SMALL
        logarithm = nn.functional.softplus(products.masked_fill(small, _SMALL)).log()
        return torch.where(small, products, logarithm) * self.exponent


def _as_numbers(features: Tensor) -> Tensor:
    """The spectral ones of interaction features (…, F), their products without logarithms."""
    relative, raw, sides = features[..., -len(SPECTRAL_FEATURES):].split_with_sizes([PRODUCTS - 1, 1, 2], dim=-1)
    return torch.cat([relative.expm1() / RELATIVE_FACTOR, raw.exp() - RAW_OFFSET, sides], dim=-1)
