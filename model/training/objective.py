"""Objective: the loss of a batch on items, and on the index nodes that hold them (Algorithm 1, line 10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.features.encoder import FeatureSpec
from index_store.features.ragged import Ragged
from model.config import ConfigError, TrainConfig
from model.data.load import Events
from model.examples.batches import BatchReader, IdDropout, TreeReader, UserBatch, as_unknown
from model.examples.clicks import Clicks
from model.examples.example_groups import ExampleGroups
from model.examples.folds import Fold
from model.examples.negatives import Candidates, NearDraws, NearSampler, NegativeSampler, known_positives
from model.training.distill import SoftLabels, Teacher, UserInputs
from model.training.losses import impression_loss, sampled_loss


def task_weights(spec: FeatureSpec, config: TrainConfig) -> list[float]:
    """Weight of each task in the loss: the run's, else the log's.

    Raises:
        ConfigError: the run weighs a task that the log lacks, or none.
    """
    names = [task.name for task in spec.tasks]
    for name in config.task_weights:
        if name not in names:
            raise ConfigError(f"the task weights name {name!r}, but the tasks of this log are {', '.join(names)}; "
                              "weigh those")
    weights = [float(config.task_weights.get(task.name, task.weight)) for task in spec.tasks]
    if not any(weights):
        raise ConfigError(f"the tasks {', '.join(names)} all have weight 0; give one a weight above 0 to learn it")
    return weights


@dataclass(frozen=True)
class _Drawn:
    """Negatives of the B groups of a batch: those of the pool, all rows (B, M), and the near ones among them if any."""

    common: Candidates
    rows: NDArray[np.int64]
    near: NearDraws | None


class Objective:
    """Computes the loss of batches of one log.

    Args:
        reader: of the model and the log.
        events: that the model learns from.
        clicks: of these events.
        groups: of these events.
        config: of the run.
    """

    def __init__(self, reader: BatchReader, events: Events, clicks: Clicks, groups: ExampleGroups,
                 config: TrainConfig) -> None:
        self.reader, self.events, self.clicks, self.groups, self.config = reader, events, clicks, groups, config
        self.task_weights = torch.tensor(task_weights(reader.spec, config), device=reader.device)
        self.teacher: Teacher | None = None
        popularity = np.bincount(clicks.rows, minlength=len(reader.dataset.items))
        self.sampler = NegativeSampler(popularity, config.uniform_share)
        self._near = NearSampler(reader.spec, reader.dataset.encoder.key_starts(), reader.keys)

    def loss(self, chosen: NDArray[np.int64], fold: Fold, tree: TreeReader | None,
             index_weight: float, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """Loss of the chosen groups of examples.

        The index loss takes one random level a batch, times the number of levels: the same expectation as for all of
        them, at a fraction of the cost. In a stack each layer learns as a separate model would: on the items, and on
        the nodes of the levels that it scores.

        Args:
            chosen: groups, all of one fold.
            fold: what their examples may read.
            tree: None in an epoch without a tree.
            index_weight: of the index loss.
            rng: draws negatives, levels and what is dropped.

        Returns:
            The loss, and on logs of impressions the (S, tasks) logits of the items' layer and the labels, stacked as
            (2, S, tasks).
        """
        levels = tree.tree.depth - 1 if tree is not None else 0
        level = 1 + int(rng.integers(levels)) if levels else 0
        weight = index_weight * levels
        inputs, index = self._inputs(chosen, fold), fold.index
        unknown = rng.random(len(chosen)) < self.config.unknown_share
        users = self.reader.users(*as_unknown(inputs.features, inputs.history, unknown), index, self._id_dropout(rng))
        scored = None
        if self.groups.before is None:
            loss = self._sampled(users, chosen, tree, level, weight, rng)
        else:
            loss, scored = self._impressions(users, chosen, tree, level, weight, rng)
        if self.teacher is not None:
            loss = loss + self._unsupervised(users, self.teacher.label(inputs, rng), rng)
        return loss, scored

    def calibrate(self, chosen: NDArray[np.int64], fold: Fold, rng: np.random.Generator) -> None:
        """Sets the scale of the model's interaction features by those of some groups; arguments as for `loss`."""
        inputs = self._inputs(chosen, fold)
        users = self.reader.users(inputs.features, inputs.history, fold.index)
        own, _, _ = self.groups.padded_items(chosen, self.events)
        rows = own if self.groups.before is not None else np.concatenate(
            [own, self._draw(users, len(own), rng).rows], axis=1)
        self.reader.model.calibrate(self.reader.features(users, rows).flatten(0, 1))

    def _inputs(self, chosen: NDArray[np.int64], fold: Fold) -> UserInputs:
        rows = self.groups.users[chosen]
        if self.groups.before is None:
            history = fold.clicks.histories(rows)
        else:
            history = self.clicks.histories(rows, before=self.groups.before[chosen])
        return UserInputs(rows, self.reader.dataset.users.take(rows), history, fold.index)

    def _id_dropout(self, rng: np.random.Generator) -> IdDropout:
        return IdDropout(self.config.forget_share, rng)

    def _sampled(self, users: UserBatch, chosen: NDArray[np.int64], tree: TreeReader | None, level: int, weight: float,
                 rng: np.random.Generator) -> Tensor:
        own, filled, of = self.groups.padded_items(chosen, self.events)
        labels = torch.zeros((*own.shape, self.events.labels.shape[1]), device=self.reader.device)
        labels[torch.from_numpy(filled)] = self.reader.tensor(self.events.labels[of].astype(np.float32))
        drawn = self._draw(users, len(own), rng)
        clicked = self._clicked(chosen)
        rows = np.concatenate([own, drawn.rows], axis=1)
        items, features = self.reader.items(rows, self._id_dropout(rng)), self.reader.features(users, rows)
        candidates = self._corrected(drawn, features[:, own.shape[1]:])
        loss = torch.zeros((), device=items.device)
        for logits in self.reader.score_layers(users, rows, items, None, features):
            loss = loss + self._cross_entropy(logits, labels, candidates, clicked, len(self.sampler.q))
        if tree is None:
            return loss
        loss = loss + tree.penalty(level, own, items[:, :own.shape[1]])
        common = drawn.common
        if tree.soft:  # mixtures for negatives too, since a scorer could tell a mixture from a node
            nodes = self.sampler.holding(common, tree.node_of_row[level - 1], self._summed_q(tree, level))
            shared = own.shape[1] + common.ids.shape[1]
            scores = tree.score_holding(users, level, rows[:, :shared], items[:, :shared])
        else:
            nodes = self.sampler.nodes(common, tree.node_of_row[level - 1], self._summed_q(tree, level))
            scores = torch.cat([tree.score_holding(users, level, own, items[:, :own.shape[1]]),
                                tree.score_nodes(users, level, nodes.ids)], dim=1)
        holding = clicked.with_values(tree.node_of_row[level - 1][clicked.values])
        return loss + weight * self._cross_entropy(scores, labels, nodes, holding, tree.tree.size(level))

    def _draw(self, users: UserBatch, examples: int, rng: np.random.Generator) -> _Drawn:
        negatives = self.config.negatives  # one at least is of the pool, for the nodes, and for users without keys
        draws = self._near.draws_of(min(round(self.config.near_share * negatives), negatives - 1))
        common = self.sampler.items(examples, negatives - draws, self.config.negative_pool, rng)
        if not draws:
            return _Drawn(common, common.ids, None)
        near = self._near.draw(users.hits, draws, rng)
        more = common.ids[:, rng.integers(0, common.ids.shape[1], draws)]
        return _Drawn(common, np.concatenate([common.ids, np.where(near.items < 0, more, near.items)], axis=1), near)

    def _corrected(self, drawn: _Drawn, features: Tensor) -> Candidates:
        """The drawn items with the logarithm of how often each is expected, given their features (B, M, F)."""
        if drawn.near is None:
            return drawn.common
        # What a user's keys do not reach comes from the pool too.
        pooled = drawn.common.ids.shape[1] + (drawn.near.items < 0).sum(axis=1)
        near = self._near.expected(drawn.near, features.cpu().numpy())
        return Candidates(drawn.rows, -np.log(pooled[:, None] * self.sampler.q[drawn.rows] + near).astype(np.float32))

    def _cross_entropy(self, logits: Tensor, labels: Tensor, candidates: Candidates, clicked: Ragged, n: int) -> Tensor:
        """The sampled loss of logits (B, P + M, tasks), positives (B, P, tasks) first.

        Candidates that the user clicked, or that hold an item that the user clicked, do not count.
        """
        excluded = torch.from_numpy(known_positives(candidates.ids, n, clicked)).to(self.reader.device)
        own = labels.shape[1]
        return sampled_loss(logits[:, :own], logits[:, own:], labels, self.reader.tensor(candidates.correction),
                            excluded, self.task_weights)

    def _impressions(self, users: UserBatch, chosen: NDArray[np.int64], tree: TreeReader | None, level: int,
                     weight: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        rows, filled, of = self.groups.padded_items(chosen, self.events)
        items = self.reader.items(rows, self._id_dropout(rng))
        valid = torch.from_numpy(filled).to(self.reader.device)
        labels = self.reader.tensor(self.events.labels[of].astype(np.float32))
        layers, loss = self.reader.score_layers(users, rows, items, None), torch.zeros((), device=items.device)
        for logits in layers:
            loss = loss + impression_loss(logits[valid], labels, self.task_weights)
        if tree is not None:
            of_nodes = tree.score_holding(users, level, rows, items)
            loss = loss + tree.penalty(level, rows, items)
            loss = loss + weight * impression_loss(of_nodes[valid], labels, self.task_weights)
        return loss, torch.stack([layers[-1][valid].detach(), labels])

    def _unsupervised(self, users: UserBatch, soft: SoftLabels, rng: np.random.Generator) -> Tensor:
        """The loss of the auxiliary head on unlabelled pairs (Equation 3)."""
        items = self.reader.items(soft.rows, self._id_dropout(rng))
        logits = self.reader.score_items(users, soft.rows, items, auxiliary=True)
        return soft.loss(logits, self.task_weights)

    def _clicked(self, chosen: NDArray[np.int64]) -> Ragged:
        """All items that the users of the chosen groups clicked, including each example's own."""
        return self.clicks.by_user.take(self.groups.users[chosen])

    def _summed_q(self, tree: TreeReader, level: int) -> NDArray[np.float64]:
        """Q of each node of a level: the sum over its members."""
        summed = np.bincount(tree.node_of_row[level - 1], weights=self.sampler.q, minlength=tree.tree.size(level))
        return summed.astype(np.float64)
