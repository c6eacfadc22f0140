"""The constants of a folded scorer as plain arrays, from which the compiled kernel computes what its graph does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]


SHAPE = "shape"
"""Name of the array that every folded scorer has, of int64; all others are float32."""


def axes(name: str) -> int:
    """Axes of the array of a name."""
    if name == "head":
        return 3
    return 1 if name.endswith("_bias") or name in ("mix", "bias", "epsilons", SHAPE) else 2


class ShapeError(ValueError):
    """The arrays do not fit one another."""


@dataclass(frozen=True)
class FoldedWeights:
    """A folded Wukong of one layer; see `FoldedWukong` of `model/network/folding.py`, which says what it computes.

    Attributes:
        hidden: (in, out) and (out,) of each hidden layer of the interaction tower.
        pair, pair_bias: (hidden, d) and (d,) of the pair's token.
        products, products_bias: (P, m) and (m,), the input layer of the factorisation machine, in the kernel's order of
            products: of each item token with the user tokens, then of the pair's token with the user tokens, with the
            item tokens and with itself.
        fm: (m, n d), its output layer, to the first n tokens.
        mix: (tokens,) how much each token takes of the pair's.
        head: (tokens, d, tasks).
        direct: (hidden, tasks).
        bias: (tasks,) of the logits.
        epsilons: (2,) of the layer norms, of products and of tokens.
        shape: (3,) int64, user tokens, item tokens, and where the layer's share of the user part begins.
    """

    hidden: tuple[tuple[Weights, Weights], ...]
    pair: Weights
    pair_bias: Weights
    products: Weights
    products_bias: Weights
    fm: Weights
    mix: Weights
    head: Weights
    direct: Weights
    bias: Weights
    epsilons: Weights
    shape: NDArray[np.int64]

    def __post_init__(self) -> None:
        wrong_axes = [name for name, values in self.arrays().items() if values.ndim != axes(name)]
        if wrong_axes:
            raise ShapeError(f"{wrong_axes} have another number of axes than {[axes(name) for name in wrong_axes]}")
        expected = self._expected()
        found = {name: values.shape for name, values in self.arrays().items()}
        wrong = {name: (found[name], shape) for name, shape in expected.items() if found[name] != shape}
        if wrong:
            raise ShapeError(", ".join(f"{name} has shape {has}, expected {wants}"
                                       for name, (has, wants) in wrong.items()))

    def _expected(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array, as far as others determine it."""
        if self.shape.shape != (3,):
            raise ShapeError(f"shape has shape {self.shape.shape}, expected (3,)")
        users, items = int(self.shape[0]), int(self.shape[1])
        inner, dim = self.pair.shape
        tokens, tasks = len(self.head), self.head.shape[2]
        if min(users, items, dim, tokens, tasks, inner) < 1 or self.shape[2] < 0 or self.fm.shape[1] % dim or (
                self.fm.shape[1] > tokens * dim):
            raise ShapeError(f"{users} user tokens, {items} item tokens, {tokens} tokens of width {dim}, "
                             f"{self.fm.shape[1]} outputs of the factorisation machine and {tasks} tasks are no scorer")
        layers: dict[str, tuple[int, ...]] = {}
        for at, (weights, _) in enumerate(self.hidden):
            follows = self.hidden[at + 1][0].shape[0] if at + 1 < len(self.hidden) else inner
            layers |= {f"hidden_{at}": (weights.shape[0], follows), f"hidden_{at}_bias": (follows,)}
        products = users * items + users + items + 1
        hidden = self.products.shape[1]
        return {**layers, "pair_bias": (dim,), "products": (products, hidden), "products_bias": (hidden,),
                "fm": (hidden, self.fm.shape[1]), "mix": (tokens,), "head": (tokens, dim, tasks),
                "direct": (inner, tasks), "bias": (tasks,), "epsilons": (2,)}

    @property
    def features(self) -> int:
        """F interaction features of a pair."""
        return len(self.hidden[0][0] if self.hidden else self.pair)

    @property
    def flops(self) -> int:
        """FLOPs of a pair: of matrices, of products of tokens, and of the sum of the tokens' parts."""
        users, items = int(self.shape[0]), int(self.shape[1])
        tokens, dim, tasks = self.head.shape
        matrices = sum(layer.size for layer, _ in self.hidden) + sum(
            matrix.size for matrix in (self.pair, self.direct, self.products, self.fm))
        return 2 * int(matrices + dim * (users * items + users + items + 1) + tokens * dim * (tasks + 2))

    @property
    def user(self) -> slice:
        """The layer's share of a user part."""
        first = int(self.shape[2])
        return slice(first, first + (int(self.shape[0]) + len(self.head)) * self.pair.shape[1])

    @property
    def item_width(self) -> int:
        """Width of an item part."""
        return int((self.shape[1] + len(self.head)) * self.pair.shape[1])

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name."""
        hidden = {f"hidden_{at}{suffix}": values for at, layer in enumerate(self.hidden)
                  for suffix, values in zip(("", "_bias"), layer, strict=True)}
        return {**hidden, **{name: values for name, values in vars(self).items() if name != "hidden"}}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> FoldedWeights:
        """Of arrays by name, as `arrays` gives them.

        Raises:
            ShapeError: one is missing, or they do not fit one another.
        """
        own = dict(arrays)
        layers = 0
        while f"hidden_{layers}" in own:
            layers += 1
        try:
            hidden = tuple((own.pop(f"hidden_{at}"), own.pop(f"hidden_{at}_bias")) for at in range(layers))
            return cls(hidden, **own)  # type: ignore[arg-type]
        except (KeyError, TypeError) as error:
            raise ShapeError(f"are not the arrays of a folded scorer ({error})") from error
