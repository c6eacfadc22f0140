"""Weights of a stack's layers in the ensemble, fitted on withheld examples (Sections 4.4 and 4.6).

A layer is more confident about its training examples than about new ones, and more so the larger it is. A log of
positives widens the gap: in training, an item that a user clicked is never drawn as a negative for the user, while the
ads of future clicks, and the nodes that hold them, are drawn again and again. So the layers (the lower level) are
trained on most of the log as if the remaining clicks had not happened, and the weights are fitted on the withheld rest.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from index_store.features.postings import KeyIndex
from model.config.errors import ConfigError
from model.data.load import Dataset, Events
from model.examples.batches import TreeReader
from model.examples.clicks import Clicks
from model.examples.example_groups import ExampleGroups
from model.examples.negatives import known_positives
from model.objective.losses import impression_loss, sampled_loss
from model.objective.objective import Objective
from model.progress.bars import Bar
from model.progress.lines import tell
from model.sources.draws import Draws

EXAMPLES = 20_000
"""Events that the weights are fitted to, at most: they are a handful of numbers."""

LEAST = 0.01
"""Least weight. The beam ranks a layer's nodes by its weighted logits, so a weight of 0 would lose their order."""


def withhold(dataset: Dataset, share: float) -> tuple[Events, Events]:
    """Splits the train events into a part that the layers learn from and a part that their weights are fitted on.

    The ids of a user and an ad alone decide whether the pair is withheld: all of its events go the same way, and they
    go the same way in runs that start from this one.

    Args:
        dataset: the log.
        share: of the layers, above 0 and below 1.

    Raises:
        ConfigError: one of the parts holds no positive.
    """
    events = dataset.train
    users, items = (np.array([zlib.crc32(name) for name in ids], np.uint64)
                    for ids in (dataset.user_ids, dataset.encoder.item_ids))
    pairs = users[events.users] << np.uint64(32) | items[events.items]
    layers = Draws(0).uniform("layers of a stack", pairs) < share
    for chosen, purpose in ((layers, "for the layers to learn from"), (~layers, "to fit their weights on")):
        if not events.labels[chosen].any():
            raise ConfigError(f"lower_share {share} of {len(events):,} events leaves no positive {purpose}; a stack "
                              "needs a longer log or another share")
    return events.where(layers), events.where(~layers)


class EnsembleWeights:
    """Fits the weights.

    Args:
        objective: of the layers, on their part of the log.
        withheld: the other part.
        clicks: of the whole log, none of which is a negative.
        index: key index counted over the layers' part.
        log: receives the reports.
    """

    def __init__(self, objective: Objective, withheld: Events, clicks: Clicks, index: KeyIndex,
                 log: Callable[[Mapping[str, Any]], None]) -> None:
        self.objective, self.withheld, self.index, self.log = objective, withheld, index, log
        self._clicked = clicks.by_user
        self._groups = ExampleGroups.of(objective.reader.spec, withheld, objective.clicks, 1)

    def fit(self, nodes: TreeReader) -> None:
        """Sets the weights and the intercept of a model in eval mode to those with the least loss, and reports them.

        Args:
            nodes: of the tree as it would be served.

        Raises:
            ConfigError: the loss is not finite.
        """
        model = self.objective.reader.model
        loss, labels = self._examples(nodes)
        fitted = self._minimum(loss, labels)
        model.weights.copy_(fitted[:-1])
        model.intercept.copy_(fitted[-1])
        self.log({"ensemble_weights": model.weights.tolist(), "intercept": model.intercept.tolist(),
                  "examples": len(labels)})
        tell("weights of the layers, coarse to fine, by task: " + "; ".join(
            ", ".join(f"{weight:.3f}" for weight in layer) for layer in model.weights.tolist()))

    def _minimum(self, loss: Callable[[Tensor], Tensor], labels: Tensor) -> Tensor:
        """Weights and intercept (layers + 1, tasks) with the least loss, which is convex in them.

        A prior worth one positive, around equal weights, keeps them finite where the layers make no mistake. A log of
        positives does not determine the intercept, which stays at 0.
        """
        model = self.objective.reader.model
        start = model.weights.new_zeros(len(model.weights) + 1, model.tasks)
        start[:-1] = 1 / len(model.weights)

        def penalised(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights = start.new_tensor(values.reshape(start.shape)).requires_grad_()
            prior = ((weights - start) ** 2 / labels.sum(0).clamp(min=1)).sum()
            total = loss(weights) + prior
            gradient, = torch.autograd.grad(total, [weights])
            return total.item(), gradient.cpu().numpy().astype(np.float64).ravel()

        bounds = [(LEAST, None)] * model.weights.numel() + [(None, None)] * model.tasks
        found = minimize(penalised, start.cpu().numpy().ravel(), jac=True, method="L-BFGS-B", bounds=bounds)
        if not np.isfinite(found.fun):
            raise ConfigError(f"the loss of the ensemble is {found.fun}, so the layers' weights cannot be fitted; the "
                              "checkpoint before the epoch is kept: resume with a lower learning rate")
        return torch.from_numpy(found.x).reshape(start.shape)

    def _examples(self, nodes: TreeReader) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """The loss of withheld examples as a function of weights and intercept (layers + 1, tasks), and the labels."""
        of, rng = self.objective, np.random.default_rng([self.objective.config.seed, 11])
        plan, examples = list(self._groups.batches(of.config.batch_users, rng)), 0
        parts = []
        with torch.no_grad(), Bar(plan, desc="weights of the layers", unit="batch", leave=False) as bar:
            for _, chosen in bar:
                parts.append(self._part(chosen, nodes, rng))
                examples += len(chosen)
                if examples >= EXAMPLES:
                    break
        layers, labels, correction, excluded, shift = map(torch.cat, zip(*parts, strict=True))

        def loss(weights: Tensor) -> Tensor:
            logits = (layers * weights[:-1]).sum(2) + weights[-1] + shift[:, None]
            if self._groups.before is not None:
                return impression_loss(logits[:, 0], labels, of.task_weights)
            return sampled_loss(logits[:, :1], logits[:, 1:], labels[:, None], correction, excluded, of.task_weights)

        return loss, labels

    def _part(self, chosen: NDArray[np.int64], nodes: TreeReader,
              rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Logits (B, 1 + M, layers, tasks) of the item of B groups and M negatives, labels (B, tasks), correction and
        exclusion of the negatives (B, M), and what the context adds (B, tasks); M is 0 in a log of impressions.
        """
        of, reader, before = self.objective, self.objective.reader, self._groups.before
        users = self._groups.users[chosen]
        history = of.clicks.histories(users,
                                      before=before[chosen] if before is not None else None)
        batch = reader.users(reader.dataset.users.take(users), history, self.index)
        own, _, events = self._groups.padded_items(chosen, self.withheld)
        context = None if self.withheld.context is None else self.withheld.context[events]
        batch = reader.in_context(batch, context)
        drawn = of.sampler.items(len(own), of.config.negatives if before is None else 0, of.config.negative_pool, rng)
        excluded = known_positives(drawn.ids, len(of.sampler.q), self._clicked.take(users))
        rows = np.concatenate([own, drawn.ids], axis=1)
        logits = torch.stack(reader.score_layers(batch, rows, reader.items(rows), nodes), dim=2)
        labels = reader.tensor(self.withheld.labels[events].astype(np.float32))
        return (logits, labels, reader.tensor(drawn.correction), torch.from_numpy(excluded).to(reader.device),
                torch.zeros_like(labels) + reader.shift(context))
