"""Settings of the offline job: frozen, saved with the run, rebuilt from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

OverArchName = Literal["wukong", "deepfm", "dhen", "dot"]
Size = Literal["small", "medium", "large"]


class ConfigError(ValueError):
    """A setting that cannot work; the message names it, its value and what to do."""


@dataclass(frozen=True)
class MoNNConfig:
    """Shape of the network.

    Attributes:
        over_arch: `wukong`, `deepfm` or `dhen`, or `dot` for the two-tower baseline (TTSN), which ignores the
            interaction tower.
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

    over_arch: OverArchName = "wukong"
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
        level: whose nodes it scores, 1 the coarsest; it also steers the beam at the levels between that one and the
            layer above.
        model: shape.
    """

    level: int
    model: MoNNConfig


@dataclass(frozen=True)
class HillConfig:
    """How the joint index learns (Section 3.4).

    Attributes:
        codebooks: `parent`, own codes for the children of each node, or `shared`, one codebook a level.
        gradient: whether the index loss stops before the item tower (`stopped`) or trains it through the attention too
            (`joint`).
        sharpness: of the attention at the start and the end of the joint training: the logarithm of how much more
            weight a typical item gives to its nearest code than to the next one.
        sharpness_power: p of Equation 7; 1 rises evenly, more stays soft for longer.
        reconstruction_weight: of the loss between an item and its pseudo embedding.
        balance_weight: of the FLOPs regulariser, which is 1 for a level that is used evenly.
        pooled_batches: batches whose assignments the regulariser pools.
        learning_rate: Adam's, for the codes, before the linear decay to zero.
    """

    codebooks: Literal["parent", "shared"] = "parent"
    gradient: Literal["stopped", "joint"] = "stopped"
    sharpness: tuple[float, float] = (1.0, 10.0)
    sharpness_power: float = 1.0
    reconstruction_weight: float = 1.0
    balance_weight: float = 0.01
    pooled_batches: int = 4
    learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        if not 0 < self.sharpness[0] <= self.sharpness[1]:
            raise ConfigError(f"sharpness is {self.sharpness}; it must rise from a number above 0, for at 0 all codes "
                              "get the same gradient")
        if self.pooled_batches < 1:
            raise ConfigError(f"pooled_batches is {self.pooled_batches}; at least 1 is needed")


@dataclass(frozen=True)
class PairsConfig:
    """Pairs of a user and an index node that a run learns beside the log (Section 3.6).

    Attributes:
        phi: least phi_IR of each level, from the leaf nodes upwards; their number is phi_DEP.
        interest: where a user's interest is read off: train positives, recorded beams, or both.
        beams: files of recorded beams.
        control: `real` trains on the log alone, `random` on as many pairs with random nodes; empty for the pairs.
    """

    phi: tuple[float, ...]
    interest: Literal["history", "beam", "union"] = "history"
    beams: tuple[str, ...] = ()
    control: Literal["", "real", "random"] = ""

    def __post_init__(self) -> None:
        if bool(self.beams) != (self.interest != "history"):
            raise ConfigError(f"the interest is {self.interest} and {len(self.beams)} files of beams are given; give "
                              "files with beam and union, and none with history")


@dataclass(frozen=True)
class TrainConfig:
    """How a run learns.

    Attributes:
        model: shape of the network, in a stack that of the layer that scores the items.
        stack: layers above it, coarse to fine.
        lower_share: in a stack, share of the log that its layers learn from, the lower level; the ensemble's weights
            learn from the rest (Section 4.4).
        branching: children of a node at each level above the items, coarse to fine; empty = by the number of items.
        tree: `em` alternates k-means and training (Section 3.5), `joint` trains codes together with the model (Sections
            3.2 to 3.4), `posthoc` is the control: k-means on the item embeddings of a model that never heard of a tree.
        hill: how the joint index learns.
        epochs: epochs before the first tree.
        rounds: EM rounds; each learns a tree (E) and trains `round_epochs` epochs with it (M). The joint index goes
            on from its codes at the start of a round; `posthoc` trains as many epochs without a tree.
        round_epochs: epochs of one M-step.
        start_from: the run whose weights and tree this one started from (Section 3.5, small updates between two
            windows); empty for none. There are no epochs without a tree then.
        pairs: of users and index nodes, which a run that starts from another learns; its tree then stays as it is.
        node_features: interaction features of an index node: the `maximum` over its members, or those of its
            `representative` item (Section 4.6).
        index_weight: weight of the `<user, index node>` loss after its warm-up.
        index_warm_up: epochs with a tree until that weight is reached, on a straight line from 0; 0 = no warm-up.
        task_weights: weights of tasks in the loss that differ from those that the log declares.
        teacher: folder of a run on the same data whose predictions on unlabeled pairs are learned too (Equation 3).
        teacher_file: Parquet file of soft labels to learn in place of those of a run.
        batch_users: users' moments in a batch.
        negatives: negatives of an example of a log that holds only positives.
        negative_pool: items drawn for a batch, of which each example takes its negatives.
        uniform_share: share of the pool that is drawn uniformly, the rest by popularity.
        unknown_share: share of moments at which the user is trained as unknown: no fields, no history.
        forget_share: share of item ids, of candidates and in histories, that is trained as unknown.
        learning_rate, table_learning_rate: Adam's, for dense layers and tables, before the linear decay to zero.
        weight_decay: AdamW's, for dense layers.
        holdout: share of the train events held out to choose settings by; 0 trains on all and evaluates on test.
        seed: of everything random.
    """

    model: MoNNConfig = field(default_factory=MoNNConfig)
    stack: tuple[StackedLayer, ...] = ()
    lower_share: float = 0.98
    branching: tuple[int, ...] = ()
    tree: Literal["em", "joint", "posthoc"] = "em"
    hill: HillConfig = field(default_factory=HillConfig)
    epochs: int = 1
    rounds: int = 2
    round_epochs: int = 1
    start_from: str = ""
    pairs: PairsConfig | None = None
    node_features: Literal["maximum", "representative"] = "maximum"
    index_weight: float = 1.0
    index_warm_up: float = 0.5
    task_weights: Mapping[str, float] = field(default_factory=dict)
    teacher: str = ""
    teacher_file: str = ""
    batch_users: int = 512
    negatives: int = 96
    negative_pool: int = 2048
    uniform_share: float = 0.25
    unknown_share: float = 0.02
    forget_share: float = 0.1
    learning_rate: float = 2e-3
    table_learning_rate: float = 4e-3
    weight_decay: float = 0.01
    holdout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rounds", "round_epochs", "batch_users", "negatives", "negative_pool"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if not 0 <= self.index_warm_up < math.inf:
            raise ConfigError(f"index_warm_up is {self.index_warm_up}; give a number of epochs >= 0")
        if self.epochs < 0:
            raise ConfigError(f"epochs is {self.epochs}; 0 or more are possible")
        for name in ("forget_share", "unknown_share", "uniform_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a share in [0, 1]")
        if self.start_from and self.epochs:
            raise ConfigError(f"epochs is {self.epochs}, but a run that starts from another has a tree from the first "
                              "one on; leave it at 0 and set rounds and round_epochs")
        if self.pairs and not self.start_from:
            raise ConfigError("pairs of users and index nodes are those of another run's tree; name it with --from")
        if self.stack and not 0 < self.lower_share < 1:
            raise ConfigError(f"lower_share is {self.lower_share}; give a share above 0 and below 1")
        levels = [layer.level for layer in self.stack]
        if levels != sorted(set(levels)) or any(level < 1 for level in levels):
            raise ConfigError(f"the stack's layers are for the levels {levels}; name levels from 1, each finer than "
                              "the one before")
        if self.stack and self.tree == "posthoc":
            raise ConfigError("the layers of a stack learn on the nodes of a tree, but a tree of kind posthoc comes "
                              "after all training; choose em or joint")
        if not 0 <= self.holdout < 1:
            raise ConfigError(f"holdout is {self.holdout}; give a share in [0, 1)")
        for task, weight in self.task_weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"task_weights gives {task} the weight {weight}; give a number >= 0")
        if self.teacher and self.teacher_file:
            raise ConfigError(f"both the run {self.teacher} and the file {self.teacher_file} would be the teacher; "
                              "name one")
        for children in self.branching:
            if children < 2:
                raise ConfigError(f"branching {self.branching} has a level of {children}; each needs at least 2")

    @property
    def distilled(self) -> bool:
        """Whether there is a teacher, hence an auxiliary head."""
        return bool(self.teacher or self.teacher_file)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Reads what `to_json` wrote, after JSON turned tuples into lists."""
        def tuples(part: Mapping[str, Any]) -> dict[str, Any]:
            return {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}

        return cls(**{**tuples(data), "model": MoNNConfig(**tuples(data["model"])),
                      "stack": tuple(StackedLayer(layer["level"], MoNNConfig(**tuples(layer["model"])))
                                     for layer in data.get("stack", [])),
                      "pairs": PairsConfig(**tuples(data["pairs"])) if data.get("pairs") else None,
                      "hill": HillConfig(**tuples(data.get("hill", {})))})
