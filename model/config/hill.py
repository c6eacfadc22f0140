"""How the joint index learns (Section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from model.config.errors import ConfigError
from model.config.flag import flag


@dataclass(frozen=True)
class HillConfig:
    """How the joint index learns (Section 3.4).

    Attributes:
        codebooks: `parent`, own codes for the children of each node, or `shared`, one codebook a level.
        gradient: whether the index loss stops before the item tower (`stopped`) or trains it through the attention too
            (`joint`).
        sharpness: of the attention at the start and the end of the joint training: the logarithm of how much more
            weight a typical item gives to its nearest code than to the next one.
        sharpness_power: p of Equation 7; 1 rises evenly, a higher power stays soft for longer.
        reconstruction_weight: of the loss between an item and its pseudo embedding.
        balance_weight: of the FLOPs regulariser, which is 1 for a level that is used evenly.
        pooled_batches: batches whose assignments the regulariser pools.
        learning_rate: Adam's, for the codes, before the linear decay to zero.
    """

    codebooks: Literal["parent", "shared"] = field(default="parent", metadata=flag(
        "of the joint tree: codes of their own for the children of each node, or one codebook a level"))
    gradient: Literal["stopped", "joint"] = field(default="stopped", metadata=flag(
        "whether the joint tree's loss trains the item tower too", name="tree-gradient"))
    sharpness: tuple[float, float] = (1.0, 10.0)
    sharpness_power: float = 1.0
    reconstruction_weight: float = 1.0
    balance_weight: float = 0.01
    pooled_batches: int = 4
    learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        if not 0 < self.sharpness[0] <= self.sharpness[1]:
            raise ConfigError(f"sharpness is {self.sharpness}; it must rise from a number above 0, since at 0 all "
                              "codes get the same gradient")
        if self.pooled_batches < 1:
            raise ConfigError(f"pooled_batches is {self.pooled_batches}; at least 1 is needed")
