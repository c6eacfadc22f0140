"""Settings of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from model.config.errors import ConfigError
from model.config.flag import absolute, flag, like
from model.config.hill import HillConfig
from model.config.monn import SIZES, MoNNConfig, StackedLayer, read_stack
from model.config.pairs import PairsConfig


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
        teacher_weight: of the teacher's loss, hence of its gradient into what the heads share; Adam's steps of the
            auxiliary head itself do not depend on it.
        teacher_head: what learns a teacher's labels of the log's own impressions: an auxiliary head, or the main one as
            a control, from the mean of both labels.
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
        parse=like(f"large@1 or large@1,medium@2; sizes are {', '.join(SIZES)}", read_stack)))
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
        "also learn these soft labels: Parquet with user_id, ad_id and a column for each task; with timestamp they are "
        "those of the log's own impressions, as `label` writes them", metavar="FILE", parse=absolute))
    teacher_weight: float = field(default=1.0, metadata=flag(
        "weight of the teacher's loss, beside 1 of the log's", metavar="W"))
    teacher_head: Literal["auxiliary", "main"] = "auxiliary"
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
        if not 0 < self.teacher_weight < math.inf:
            raise ConfigError(f"teacher_weight is {self.teacher_weight}; give a number above 0, or name no teacher")
        if self.teacher and self.teacher_head == "main":
            raise ConfigError(f"teacher_head is main, which learns labels of the log's own impressions alone, but the "
                              f"run {self.teacher} labels others; name a teacher_file")
        if self.teacher and self.teacher_file:
            raise ConfigError(f"both the run {self.teacher} and the file {self.teacher_file} are named as the teacher; "
                              "name one")

    @property
    def all_epochs(self) -> int:
        """Epochs before the first tree and in all rounds."""
        return self.epochs + self.rounds * self.round_epochs

    @property
    def distilled(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.teacher or self.teacher_file)

    @property
    def auxiliary(self) -> bool:
        """Whether a head of its own learns from the teacher."""
        return self.distilled and self.teacher_head == "auxiliary"

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
