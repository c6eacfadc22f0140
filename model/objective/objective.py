"""Objective: the loss of a batch on items, and on the index nodes that hold them (Algorithm 1, line 10).

A batch is prepared first, then learned from. Preparing takes about as long and needs no weights, so the next batch can
be prepared meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.features.interaction import columns_of
from index_store.features.ragged import Ragged
from model.config.train import TrainConfig
from model.data.label_windows import Targets
from model.data.load import Events
from model.examples.batches import BatchReader, IdDropout, TreeReader
from model.examples.clicks import Clicks
from model.examples.example_groups import ExampleGroups
from model.examples.folds import Fold
from model.examples.mixed_negatives import Drawn, MixedSampler
from model.examples.negatives import Candidates, NegativeSampler, known_positives
from model.examples.user_batch import UserBatch, as_unknown
from model.objective.distill import SoftLabels, Teacher
from model.objective.event_labels import EventLabels
from model.objective.losses import impression_loss, sampled_loss
from model.objective.prepared import OwnPart, Prepared, UserInputs
from model.runs.label_heads import window_targets
from model.runs.task_weights import task_weights
from model.runs.workers import ALONE, Workers

FORGOTTEN_CONTEXT = 0.1
"""Share of the values of context fields that training takes for unknown."""


@dataclass(frozen=True)
class BatchLoss:
    """The loss of a batch, or of a worker's part of it: the parts' losses sum up to the batch's.

    Attributes:
        total: what is learned from, the weighted sum of the parts.
        parts: each unweighted, so that none rises because its weight does: `items`; `nodes` and `tree` in an epoch with
            a tree, that of the nodes that hold the items and the tree's own; `teacher`.
        scored: on logs of impressions the (S, tasks) logits of the items' layer and the labels, stacked as
            (2, S, tasks), with zeros where other workers score.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    scored: Tensor | None


class Objective:
    """Computes the loss of batches of one log.

    Args:
        reader: of the model and the log.
        events: that the model learns from.
        clicks: of these events.
        groups: of these events.
        config: of the run.
        workers: who learn from a batch together.
    """

    def __init__(self, reader: BatchReader, events: Events, clicks: Clicks, groups: ExampleGroups,
                 config: TrainConfig, workers: Workers = ALONE) -> None:
        self.reader, self.events, self.clicks, self.groups, self.config = reader, events, clicks, groups, config
        self.task_weights = torch.tensor(task_weights(reader.spec, config), device=reader.device)
        self.workers = workers
        self.teacher: Teacher | EventLabels | None = None
        self._windows = window_targets(reader.dataset, events)
        popularity = np.bincount(clicks.rows, minlength=len(reader.dataset.items))
        self.sampler = NegativeSampler(popularity, config.uniform_share)
        self._mixed = MixedSampler(reader, self.sampler, config)

    def prepare(self, chosen: NDArray[np.int64], fold: Fold, rng: np.random.Generator) -> Prepared:
        """Reads a batch; another one may be trained meanwhile.

        Args:
            chosen: groups, all of one fold.
            fold: what their examples may read.
            rng: draws negatives and what is dropped.
        """
        inputs = self._inputs(chosen, fold)
        unknown = rng.random(len(chosen)) < self.config.unknown_share
        users = self.reader.read(*as_unknown(inputs.features, inputs.history, unknown, self.reader.unknown), fold.index,
                                 self._id_dropout(rng))
        own, filled, events = self.groups.padded_items(chosen, self.events)
        context = self._context(chosen, rng)
        if self.groups.before is not None:
            rows = own[filled]
            features = self.reader.pair_features(users, np.nonzero(filled)[0], rows)
            return Prepared(inputs, users, own, filled, events, rows, features, None, None, context)
        # What is clicked in the example's own fold is no negative either.
        drawn = self._mixed.draw(users, self.clicks.by_user.take(inputs.users), rng)
        rows = np.concatenate([own, drawn.rows], axis=1)
        features = self.reader.features(users, rows)
        candidates = self._mixed.corrected(drawn, features[:, own.shape[1]:])
        return Prepared(inputs, users, own, filled, events, rows, features, drawn, candidates, context)

    def _context(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int32] | None:
        """`context` of a batch, a share of it unknown."""
        rows, ids = self.reader.model.context, self.events.context
        if rows is None or ids is None:
            return None
        return rows.forget(self.groups.context(chosen, ids), FORGOTTEN_CONTEXT, rng)

    def loss(self, batch: Prepared, tree: TreeReader | None, index_weight: float,
             rng: np.random.Generator) -> BatchLoss:
        """Loss of a batch.

        The index loss takes one random level a batch, times the number of levels: the same expectation as for all of
        them, at a fraction of the cost. In a stack each layer learns as a separate model would: on the items, and on
        the nodes of the levels that it scores.

        Args:
            batch: to learn from.
            tree: None in an epoch without a tree.
            index_weight: of the index loss.
            rng: draws levels, nodes and what is dropped.
        """
        levels = tree.tree.depth - 1 if tree is not None else 0
        level = 1 + int(rng.integers(levels)) if levels else 0
        users, scored = self.reader.embed(batch.users), None
        items = self.reader.items(batch.rows, self._id_dropout(rng))
        own = self._own(batch, users, items)
        if own.batch.drawn is not None and own.batch.candidates is not None:
            parts = self._sampled(own, own.batch.drawn, own.batch.candidates, tree, level, rng)
        else:
            parts, scored_here = self._impressions(own, tree, level)
            scored = self._whole(scored_here, own, batch)
        if isinstance(self.teacher, Teacher):
            parts["teacher"] = self._unsupervised(users, self.teacher.label(batch.inputs, rng), rng)
        weights = {"nodes": index_weight * levels, "teacher": self.config.teacher_weight}
        total = torch.zeros((), device=self.reader.device)
        for name, part in parts.items():
            total = total + weights.get(name, 1.0) * part
        return BatchLoss(total, parts, scored)

    def _own(self, batch: Prepared, users: UserBatch, items: Tensor) -> OwnPart:
        """What this worker learns from, of a batch whose users and items are embedded."""
        if self.workers.count == 1:
            return OwnPart(batch, users, items, self.task_weights, True)
        groups = self.workers.part(len(batch.own))
        idle = groups.start == groups.stop
        if idle:  # with another worker's group, at no weight: the same layers and rows get gradients on all workers
            groups = slice(0, 1)
        part = batch.part(groups)
        share = part.share_of(batch, self.events.labels) * (not idle)
        return OwnPart(part, users.part(groups), items[batch.pairs_of(groups)],
                       self.task_weights * self.reader.tensor(share.astype(np.float32)), not idle)

    def _whole(self, scored: Tensor, own: OwnPart, batch: Prepared) -> Tensor:
        """What a worker has scored (2, S, tasks) at its places among the events of the batch, 0 at those of others."""
        if own.batch is batch:
            return scored
        whole = scored.new_zeros(2, len(batch.events), scored.shape[2])
        first = batch.events_of(self.workers.part(len(batch.own))).start
        whole[:, first:first + scored.shape[1] * own.counts] = scored[:, :scored.shape[1] * own.counts]
        return whole

    def calibrate(self, chosen: NDArray[np.int64], fold: Fold, rng: np.random.Generator) -> None:
        """Sets the scale of the model's interaction features by those of some groups; arguments as for `prepare`."""
        features = self.prepare(chosen, fold, rng).features
        self.reader.model.calibrate(self.reader.tensor(features).flatten(0, -2))
        ignored = columns_of(self.reader.spec, self.config.ignored)
        if ignored:
            self.reader.model.ignore(ignored)

    def _inputs(self, chosen: NDArray[np.int64], fold: Fold) -> UserInputs:
        rows = self.groups.users[chosen]
        if self.groups.before is None:
            history = fold.clicks.histories(rows)
        else:
            history = self.clicks.histories(rows, before=self.groups.before[chosen])
        return UserInputs(rows, self.reader.dataset.users.take(rows), history, fold.index)

    def _id_dropout(self, rng: np.random.Generator) -> IdDropout:
        return IdDropout(self.config.forget_share, rng)

    def _sampled(self, own: OwnPart, drawn: Drawn, candidates: Candidates, tree: TreeReader | None, level: int,
                 rng: np.random.Generator) -> dict[str, Tensor]:
        batch, items = own.batch, own.items
        users = self.reader.in_context(own.users, batch.context)
        positives, rows, features = batch.own.shape[1], batch.rows, self.reader.tensor(batch.features)
        labels = torch.zeros((*batch.own.shape, self.events.labels.shape[1]), device=self.reader.device)
        labels[torch.from_numpy(batch.filled)] = self.reader.tensor(self.events.labels[batch.events].astype(np.float32))
        clicked = drawn.clicked
        loss = torch.zeros((), device=items.device)
        for logits in self.reader.score_layers(users, rows, items, None, features):
            loss = loss + self._cross_entropy(logits, labels, candidates, clicked, len(self.sampler.q), own.weights)
        parts = {"items": loss}
        if tree is None:
            return parts
        if tree.soft:
            parts["tree"] = tree.penalty(level, batch.own, items[:, :positives])
        node_q, holding = self._summed_q(tree, level), clicked.with_values(tree.node_of_row[level - 1][clicked.values])
        if tree.soft:  # mixtures for negatives too, since a scorer could tell a mixture from a node
            nodes = self.sampler.holding(drawn.pool, tree.node_of_row[level - 1], node_q)
            shared = positives + drawn.pool.ids.shape[1]
            scores = tree.score_holding(users, level, rows[:, :shared], items[:, :shared])
        else:
            nodes, nodes_features = self._mixed.nodes(drawn, users, holding, tree, level, node_q, rng)
            scores = torch.cat([tree.score_holding(users, level, batch.own, items[:, :positives]),
                                tree.score_nodes(users, level, nodes.ids, nodes_features)], dim=1)
        parts["nodes"] = self._cross_entropy(scores, labels, nodes, holding, tree.tree.size(level), own.weights)
        return parts

    def _cross_entropy(self, logits: Tensor, labels: Tensor, candidates: Candidates, clicked: Ragged, n: int,
                       weights: Tensor) -> Tensor:
        """The sampled loss of logits (B, P + M, tasks), positives (B, P, tasks) first.

        Candidates that the user clicked, or that hold an item that the user clicked, do not count.
        """
        excluded = torch.from_numpy(known_positives(candidates.ids, n, clicked)).to(self.reader.device)
        own, logits = labels.shape[1], self.reader.model.link(logits)
        return sampled_loss(logits[:, :own], logits[:, own:], labels, self.reader.tensor(candidates.correction),
                            excluded, weights)

    def _impressions(self, own: OwnPart, tree: TreeReader | None, level: int) -> tuple[dict[str, Tensor], Tensor]:
        batch, items, model = own.batch, own.items, self.reader.model
        pairs = self.reader.pairs(own.users, batch.owners, batch.rows, items, batch.context)
        labels = self.reader.tensor(self.events.labels[batch.events].astype(np.float32))
        shift, features = self.reader.shift(batch.context), self.reader.tensor(batch.features)
        learned, weights, waiting, of_tasks = labels, own.weights, None, shift
        if self._windows is not None:
            learned, weights, waiting = self._window_labels(self._windows, batch, own.weights)
            shift = shift if shift.ndim == 0 else shift[:, torch.from_numpy(self._windows.heads).to(shift.device)]
        taught = self.teacher if isinstance(self.teacher, EventLabels) else None
        if taught is not None and not self.config.auxiliary:
            learned = taught.mixed(labels, batch.events)
        layers = [pairs.score(model, items, features, layer, windows=True) + shift for layer in model.ensemble]
        main, auxiliary = pairs.score_both(model, features)
        layers.append(main + shift)
        loss = torch.zeros((), device=items.device)
        for logits in layers:
            loss = loss + impression_loss(logits, learned, weights, waiting)
        parts = {"items": loss}
        if tree is not None:
            if tree.soft:
                parts["tree"] = tree.penalty(level, batch.rows, items)
            of_nodes = tree.score_pairs(pairs, level, windows=True) + shift
            parts["nodes"] = impression_loss(of_nodes, learned, weights, waiting)
        if taught is not None and self.config.auxiliary:
            parts["teacher"] = taught.loss(auxiliary + of_tasks, batch.events, own.weights)
        return parts, torch.stack([layers[-1].detach()[:, :labels.shape[1]], labels])

    def _window_labels(self, targets: Targets, batch: Prepared, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (S, logits) of the events of a batch, the weight of each, given those of the tasks, and `waiting`."""
        labels, counted, waiting = (self.reader.tensor(values[batch.events].astype(np.float32))
                                    for values in (targets.labels, targets.counted, targets.waiting))
        return labels, counted * weights[torch.from_numpy(targets.heads).to(weights.device)], waiting

    def _unsupervised(self, users: UserBatch, soft: SoftLabels, rng: np.random.Generator) -> Tensor:
        """The loss of the auxiliary head on unlabelled pairs (Equation 3)."""
        items = self.reader.items(soft.rows, self._id_dropout(rng))
        logits = self.reader.score_items(users, soft.rows, items, auxiliary=True)
        return soft.loss(self.reader.model.link(logits), self.task_weights)

    def _summed_q(self, tree: TreeReader, level: int) -> NDArray[np.float64]:
        """Q of each node of a level: the sum over its members."""
        summed = np.bincount(tree.node_of_row[level - 1], weights=self.sampler.q, minlength=tree.tree.size(level))
        return summed.astype(np.float64)
