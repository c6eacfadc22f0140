"""Shape of a MoNN: its sizes, and the layers of a stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

from model.config.errors import ConfigError
from model.config.flag import flag

OverArchName = Literal["wukong", "deepfm", "dhen", "dot"]
Size = Literal["small", "medium", "large"]


@dataclass(frozen=True)
class MoNNConfig:
    """Shape of the network.

    Attributes:
        over_arch: `dot` is the two-tower baseline (TTSN), which ignores the interaction tower.
        table_width: width of each embedding table.
        user_hidden, item_hidden, pair_hidden: widths of the towers' hidden layers.
        dim: width d of a token.
        user_tokens, item_tokens: tokens that a tower emits; the interaction tower emits one.
        fm_tokens, linear_tokens: tokens that a Wukong layer emits from its FMB and its LCB; a DHEN layer emits as
            many together.
        over_hidden: hidden width of the over-arch's MLPs.
        layers: layers of Wukong or DHEN; of DeepFM, hidden layers of its MLP after the first.
        dropout: on the inputs of the user and item tower, in training.
    """

    over_arch: OverArchName = field(default="wukong", metadata=flag("dot trains the two-tower baseline"))
    table_width: int = 32
    user_hidden: tuple[int, ...] = (256,)
    item_hidden: tuple[int, ...] = (256,)
    pair_hidden: tuple[int, ...] = (32,)
    dim: int = 16
    user_tokens: int = 4
    item_tokens: int = 4
    fm_tokens: int = 2
    linear_tokens: int = 2
    over_hidden: int = 64
    layers: int = 1
    dropout: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; give a share in [0, 1)")

    @property
    def user_embedding(self) -> int:
        return self.user_tokens * self.dim

    @property
    def item_embedding(self) -> int:
        return self.item_tokens * self.dim


SIZES: dict[Size, MoNNConfig] = {
    "small": MoNNConfig(),
    "medium": MoNNConfig(user_hidden=(512,), item_hidden=(512,), pair_hidden=(64,), user_tokens=8, item_tokens=8,
                         fm_tokens=4, linear_tokens=4, over_hidden=160, layers=2),
    "large": MoNNConfig(table_width=64, user_hidden=(1024, 512), item_hidden=(512,), pair_hidden=(64,), user_tokens=8,
                        item_tokens=8, fm_tokens=4, linear_tokens=4, over_hidden=192, layers=3),
}
"""MoNN Small, Medium and Large: a pair costs them 1 : 6.6 : 9.7 with Wukong, about as in the paper's Table 1."""


@dataclass(frozen=True)
class StackedLayer:
    """A layer of a stacked MoNN above the items (Section 4.6).

    Attributes:
        level: of the tree whose nodes it scores, 1 the coarsest; the layer also ranks the nodes of the levels between
            that one and the layer above.
        model: shape.
    """

    level: int
    model: MoNNConfig


def read_stack(text: str) -> tuple[StackedLayer, ...]:
    """Layers of a stack from their text, such as `large@1,medium@2`.

    Raises:
        ValueError, KeyError: the text has another form.
    """
    parts = [part.split("@") for part in text.split(",")]
    return tuple(StackedLayer(int(level), SIZES[cast(Size, size)]) for size, level in parts)
