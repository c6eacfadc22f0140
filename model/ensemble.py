"""Weights of a stack's layers in the ensemble, fitted on examples that none of them has met (Sections 4.4 and 4.6).

A layer is surer of what it was trained on than of what is new, the more the larger it is. A log of positives widens the
gap: in training nothing that a user is known to like is ever their negative, while the ads of their future clicks, and
the nodes that hold them, are, over and over. So the lower level of the stack, its layers, takes the majority of the log
as if the rest had not happened, and the weights are the best ones for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from tqdm import tqdm

from index_store.postings import KeyIndex
from index_store.ragged import Ragged
from model.batches import TreeReader, UserBatch
from model.config import ConfigError
from model.data.load import Events
from model.examples import Clicks, Moments
from model.losses import impression_loss, sampled_loss
from model.negatives import known_positives
from model.steps import Objective

EXAMPLES = 20_000
"""Events that the weights are fitted to, at most: they are a handful of numbers."""

LEAST = 0.01
"""Least weight. The beam ranks the nodes of a layer by its weighted logits, so their order has to stay."""


def spare(events: Events, share: float, seed: int) -> tuple[Events, Events]:
    """Splits a log into the part that the layers learn from, and the part that weighs them.

    Pairs of a user and an item are drawn with all their events, so that no layer knows a spared one from another day.

    Args:
        events: the train events.
        share: of the layers, above 0 and below 1.
        seed: of the run.

    Raises:
        ConfigError: one of the parts holds no positive.
    """
    pairs = events.users.astype(np.int64) * (int(events.items.max(initial=0)) + 1) + events.items
    distinct, pair = np.unique(pairs, return_inverse=True)
    layers = (np.random.default_rng([seed, 11]).random(len(distinct)) < share)[pair]
    for chosen, purpose in ((layers, "for the layers to learn from"), (~layers, "to weigh the layers by")):
        if not events.labels[chosen].any():
            raise ConfigError(f"lower_share {share} of {len(distinct):,} pairs of a user and an ad leaves no positive "
                              f"{purpose}; a stack needs a longer log or another share")
    return events.where(layers), events.where(~layers)


class EnsembleWeights:
    """Fits the weights.

    Args:
        objective: of the layers; it knows the part of the log that they learn from.
        spared: the other part.
        clicks: of the whole log: what is no negative.
        fold: (U,) of the users.
        folds: key families of each fold, counted without its users.
        log: takes the reports.
    """

    def __init__(self, objective: Objective, spared: Events, clicks: Clicks, fold: NDArray[np.integer],
                 folds: Sequence[KeyIndex], log: Callable[[Mapping[str, Any]], None]) -> None:
        self.objective, self.spared, self.fold, self.folds, self.log = objective, spared, fold, folds, log
        self._liked = Ragged(clicks.indptr, clicks.rows)
        self._moments = Moments.of(objective.reader.spec, spared, objective.clicks, 1)

    def fit(self, nodes: TreeReader) -> None:
        """Sets the weights of a model in eval mode to those of least loss, which is convex in them.

        A prior worth one example, around equal weights, keeps them finite where the layers make no mistake.

        Args:
            nodes: the tree as it would be served.
        """
        model, losses = self.objective.reader.model, self._losses(nodes)
        equal, examples = 1 / len(model.weights), sum(size for size, _ in losses)

        def mean_loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights = model.weights.new_tensor(values.reshape(model.weights.shape)).requires_grad_()
            total = ((weights - equal) ** 2).sum() + sum(size * loss(weights) for size, loss in losses)
            gradient, = torch.autograd.grad(total / examples, [weights])
            return total.item() / examples, gradient.cpu().numpy().astype(np.float64).ravel()

        found = minimize(mean_loss, np.full(model.weights.numel(), equal), jac=True, method="L-BFGS-B",
                         bounds=[(LEAST, None)] * model.weights.numel())
        model.weights.copy_(torch.from_numpy(found.x).reshape(model.weights.shape))
        self.log({"ensemble_weights": model.weights.tolist(), "examples": examples})
        tqdm.write("weights of the layers, coarse to fine, by task: " + "; ".join(
            ", ".join(f"{weight:.3f}" for weight in layer) for layer in model.weights.tolist()))

    def _losses(self, nodes: TreeReader) -> list[tuple[int, Callable[[Tensor], Tensor]]]:
        """Batches of spared examples: how many, and their loss as a function of weights (layers, tasks)."""
        rng = np.random.default_rng([self.objective.config.seed, 12])
        batches, examples = [], 0
        plan = list(self._moments.batches(self.fold, self.objective.config.batch_users, rng))
        with torch.no_grad(), tqdm(plan, desc="weights of the layers", unit="batch", leave=False) as bar:
            for fold, chosen in bar:
                batches.append((len(chosen), self._loss(fold, chosen, nodes, rng)))
                examples += len(chosen)
                if examples >= EXAMPLES:
                    break
        return batches

    def _loss(self, fold: int, chosen: NDArray[np.int64], nodes: TreeReader,
              rng: np.random.Generator) -> Callable[[Tensor], Tensor]:
        of, reader, before = self.objective, self.objective.reader, self._moments.before
        rows = self._moments.users[chosen]
        history = of.clicks.histories(rows, reader.spec.history_length,
                                      before=before[chosen] if before is not None else None)
        users = reader.users(reader.dataset.users.take(rows), history, self.folds[fold])
        own, _, events = self._moments.shown(chosen, self.spared)
        labels = reader.tensor(self.spared.labels[events].astype(np.float32))
        if before is not None:
            layers = self._layers(users, own, nodes)[:, :, 0]
            return lambda weights: impression_loss((weights[:, None] * layers).sum(0), labels, of.task_weights)
        drawn = of.sampler.items(len(own), of.config.negatives, of.config.negative_pool, rng)
        layers = self._layers(users, np.concatenate([own, drawn.ids], axis=1), nodes)
        correction = reader.tensor(drawn.correction)
        excluded = torch.from_numpy(known_positives(drawn.ids, len(of.sampler.q), self._liked.take(rows)))

        def loss(weights: Tensor) -> Tensor:
            logits = (weights[:, None, None] * layers).sum(0)
            return sampled_loss(logits[:, 0], logits[:, 1:], labels, correction, excluded.to(logits.device),
                                of.task_weights)

        return loss

    def _layers(self, users: UserBatch, rows: NDArray[np.int64], nodes: TreeReader) -> Tensor:
        """What each layer says of items (B, C): (layers, B, C, tasks)."""
        reader = self.objective.reader
        return torch.stack(reader.score_layers(users, rows, reader.items(rows), nodes))
