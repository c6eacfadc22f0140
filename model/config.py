"""Settings of the offline job: frozen dataclasses, saved with the run and rebuilt from it.

A field that can be set on the command line carries its `Flag`; `model.training.flags` turns these into arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

OverArchName = Literal["wukong", "deepfm", "dhen", "dot"]
Size = Literal["small", "medium", "large"]


class ConfigError(ValueError):
    """A setting that cannot work; the message has its name, its value and what to do."""


@dataclass(frozen=True)
class Flag:
    """A command-line flag of a field.

    Attributes:
        help: what the setting does; the default is appended.
        name: without the leading dashes; empty for the name of the field.
        metavar: placeholder of the value in the help.
        parse: from the text of the argument to the value, may raise ConfigError; None for numbers and choices, which
            the type of the field describes.
        many: whether the flag takes several values.
    """

    help: str
    name: str = ""
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    many: bool = False


def flag(help: str, **options: Any) -> dict[str, Flag]:
    """Metadata of a field that has a flag; arguments as for `Flag`."""
    return {"flag": Flag(help, **options)}


def like(example: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser that shows an example when `read` cannot read the text."""
    def parse(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"{text!r} is not like {example}") from error

    return parse


def absolute(text: str) -> str:
    """A path that does not depend on the working directory."""
    return str(Path(text).resolve())


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


def _read_stack(text: str) -> tuple[StackedLayer, ...]:
    parts = [part.split("@") for part in text.split(",")]
    return tuple(StackedLayer(int(level), SIZES[cast(Size, size)]) for size, level in parts)


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


@dataclass(frozen=True)
class PairsConfig:
    """Settings of test-time training (Section 3.6): the node pairs that a run learns in addition to the log.

    Attributes:
        phi: least phi_IR of each level, from the leaf nodes upwards; their number is phi_DEP.
        interest: where a user's interests are taken from: train positives, recorded beams, or both.
        beams: files of recorded beams.
        control: `real` trains on the log alone, `random` on as many pairs with random nodes; empty for the pairs.
    """

    phi: tuple[float, ...] = field(default=(), metadata=flag(
        "test-time training of RUN: also learn node pairs in which the user is interested in at least this share of "
        "the node's children, one share per level from the leaf nodes upwards; the tree and all settings but the "
        "epochs are RUN's, the learning rates a tenth (default with --beams: 0.8,0.4)", metavar="0.8,0.4",
        parse=like("0.8,0.4", lambda text: tuple(map(float, text.split(","))))))
    interest: Literal["history", "beam", "union"] = field(default="history", metadata=flag(
        "where --phi takes a user's interests from (default: beam with --beams, else history)"))
    beams: tuple[str, ...] = field(default=(), metadata=flag(
        "beams that the service recorded with a bundle of RUN", metavar="FILE", parse=absolute,
        many=True))
    control: Literal["", "real", "random"] = field(default="", metadata=flag(
        "a control of --phi: the same epochs on the log alone, or on as many pairs with random nodes"))

    def __post_init__(self) -> None:
        if bool(self.beams) != (self.interest != "history"):
            raise ConfigError(f"the interest is {self.interest} and {len(self.beams)} files of beams are given; give "
                              "files with beam or union, and none with history")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run. A field with a flag is described by its help; the attributes below need more words.

    Attributes:
        model: shape of the network, in a stack that of the layer that scores the items.
        stack: layers above it, coarse to fine.
        lower_share: share of the lower level's log (Section 4.4).
        branching: children of a node at each level above the items, coarse to fine; empty = by the number of items.
        tree: `em` alternates k-means and training (Section 3.5), `joint` trains codes together with the model (Sections
            3.2 to 3.4), `posthoc` is the control: a model trained without a tree, then k-means on its item embeddings.
        hill: how the joint index learns.
        rounds: each learns a tree (E) and trains `round_epochs` epochs with it (M). The joint index continues from its
            codes at the start of a round; `posthoc` trains as many epochs without a tree. 0 trains without a tree, as
            trials of settings do.
        start_from: the run whose weights and tree this one started from (Section 3.5, small updates between two
            windows); empty for none. All epochs then have a tree.
        pairs: test-time training on node pairs, for a run that starts from another and keeps its tree.
        node_features: interaction features of an index node (Section 4.6).
        index_weight: weight of the loss on index nodes after its warm-up.
        index_warm_up: epochs with a tree until that weight is reached, on a straight line from 0; 0 = no warm-up.
        teacher: a run whose predictions on unlabelled pairs are learned (Equation 3).
        negative_pool: items drawn for a batch, from which each group of examples draws negatives.
        near_share: share of the negatives that are drawn from the items that the user's clicks reach.
        hard_share: share of the negatives that the user's spectral tower ranks highest.
        uniform_share: share of the pool that is drawn uniformly, the rest by popularity.
        unknown_share: share of example groups whose user is trained as unknown: without fields, without a history.
        forget_share: share of item ids, of candidates and in histories, that is replaced by the unknown id.
        ignored: key families whose interaction features the network does not see, and `spectral` for the spectral ones:
            for ablations, since negatives are still drawn by them.
        learning_rate, table_learning_rate: Adam's, for dense layers and tables, before the linear decay to zero.
        weight_decay: AdamW's, for dense layers.
    """

    model: MoNNConfig = field(default_factory=MoNNConfig)
    stack: tuple[StackedLayer, ...] = field(default=(), metadata=flag(
        "layers above that of the ads, coarse to fine, each a MoNN size at a level of the tree, 1 being the "
        "coarsest; --size and --over-arch then apply to the ads' layer", metavar="large@1[,medium@2]",
        parse=like(f"large@1 or large@1,medium@2; sizes are {', '.join(SIZES)}", _read_stack)))
    lower_share: float = field(default=0.98, metadata=flag(
        "share of the log that trains the layers of a stack; the rest fits their weights in the ensemble",
        metavar="SHARE"))
    branching: tuple[int, ...] = field(default=(), metadata=flag(
        "children of a node at each level (default: by the number of ads)", metavar="24x10x8",
        parse=like("24x10x8", lambda text: tuple(map(int, text.split("x"))))))
    tree: Literal["em", "joint", "posthoc"] = field(default="em", metadata=flag(
        "learn the tree by k-means between epochs, jointly with the model, or by k-means on the finished item "
        "embeddings (the control)"))
    hill: HillConfig = field(default_factory=HillConfig)
    epochs: int = field(default=1, metadata=flag("epochs before the first tree"))
    rounds: int = field(default=1, metadata=flag("EM rounds: learn the tree, then train with it"))
    round_epochs: int = field(default=1, metadata=flag("epochs per round"))
    start_from: str = field(default="", metadata=flag(
        "start from the weights and the tree of RUN, on its data or newer; size, over-arch and kind of tree are "
        "RUN's, all epochs have a tree, and the log reports how many ads moved", name="from", metavar="RUN",
        parse=absolute))
    pairs: PairsConfig | None = None
    node_features: Literal["maximum", "representative"] = field(default="maximum", metadata=flag(
        "interaction features of a node: maximum over its members, or its representative item's"))
    index_weight: float = 1.0
    index_warm_up: float = 0.5
    task_weights: Mapping[str, float] = field(default_factory=dict, metadata=flag(
        "weights of tasks in the loss (default: those that the log declares)", metavar="click=1,conversion=0.5",
        parse=like("click=1,conversion=0.5", lambda text: {
            name: float(weight) for name, weight in (part.split("=") for part in text.split(","))})))
    teacher: str = field(default="", metadata=flag(
        "also learn this run's predictions for unlabelled pairs; it must be trained on the same data", metavar="RUN",
        parse=absolute))
    teacher_file: str = field(default="", metadata=flag(
        "also learn these soft labels: Parquet with user_id, ad_id and a column for each task", metavar="FILE",
        parse=absolute))
    batch_users: int = field(default=256, metadata=flag(
        "groups of examples in a batch, each of one user and one history; logs of impressions can use more"))
    negatives: int = field(default=96, metadata=flag("sampled negatives per group of examples, for logs of positives"))
    negative_pool: int = 2048
    near_share: float = 0.33
    hard_share: float = 0.33
    uniform_share: float = 0.25
    unknown_share: float = 0.02
    forget_share: float = field(default=0.1, metadata=flag(
        "share of ad ids trained as unknown; near 1 if ads have few clicks and their fields carry most of the signal",
        metavar="SHARE"))
    ignored: tuple[str, ...] = ()
    learning_rate: float = 2e-3
    table_learning_rate: float = 2e-3
    weight_decay: float = 0.01
    holdout: float = field(default=0.0, metadata=flag(
        "train on the rest and evaluate on a share of the train events; test events stay unseen", metavar="SHARE"))
    seed: int = field(default=0, metadata=flag("seed of all random numbers"))

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_tree()
        self._check_stack()
        self._check_supervision()

    def _check_numbers(self) -> None:
        for name in ("round_epochs", "batch_users", "negatives", "negative_pool"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("epochs", "rounds"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 or more")
        if not self.epochs and not self.rounds:
            raise ConfigError("epochs and rounds are both 0, so there is nothing to train; give one of at least 1")
        if not 0 <= self.index_warm_up < math.inf:
            raise ConfigError(f"index_warm_up is {self.index_warm_up}; give a number of epochs >= 0")
        for name in ("forget_share", "unknown_share", "uniform_share", "near_share", "hard_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a share in [0, 1]")
        if not 0 <= self.holdout < 1:
            raise ConfigError(f"holdout is {self.holdout}; give a share in [0, 1)")

    def _check_tree(self) -> None:
        for children in self.branching:
            if children < 2:
                raise ConfigError(f"branching {self.branching} has a level of {children}; each needs at least 2")
        if self.start_from and self.epochs:
            raise ConfigError(f"epochs is {self.epochs}, but a run that starts from another has a tree from the first "
                              "epoch on; leave it at 0 and set rounds and round_epochs")
        if self.pairs and not self.start_from:
            raise ConfigError("node pairs refer to the tree of another run; name it with --from")

    def _check_stack(self) -> None:
        if not self.stack:
            return
        if not 0 < self.lower_share < 1:
            raise ConfigError(f"lower_share is {self.lower_share}; give a share above 0 and below 1")
        levels = [layer.level for layer in self.stack]
        if levels != sorted(set(levels)) or levels[0] < 1:
            raise ConfigError(f"the stack's layers are for the levels {levels}; name levels from 1, each finer than "
                              "the one before")
        if self.tree == "posthoc" or not self.rounds:
            raise ConfigError("the layers of a stack learn on the nodes of a tree, but a tree of kind posthoc is "
                              "learned after all training, and no round learns none; choose em or joint, and at least "
                              "one round")

    def _check_supervision(self) -> None:
        for task, weight in self.task_weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"task_weights gives {task} the weight {weight}; give a number >= 0")
        if self.teacher and self.teacher_file:
            raise ConfigError(f"both the run {self.teacher} and the file {self.teacher_file} are named as the teacher; "
                              "name one")

    @property
    def all_epochs(self) -> int:
        """Epochs before the first tree and in all rounds."""
        return self.epochs + self.rounds * self.round_epochs

    @property
    def distilled(self) -> bool:
        """Whether there is a teacher, hence an auxiliary head."""
        return bool(self.teacher or self.teacher_file)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Reads what `to_json` wrote, after JSON turned tuples into lists."""
        return cls(**{**_tuples(data), "model": MoNNConfig(**_tuples(data["model"])),
                      "stack": tuple(StackedLayer(layer["level"], MoNNConfig(**_tuples(layer["model"])))
                                     for layer in data.get("stack", [])),
                      "pairs": PairsConfig(**_tuples(data["pairs"])) if data.get("pairs") else None,
                      "hill": HillConfig(**_tuples(data.get("hill", {})))})


def _tuples(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}
