"""Normalized entropy (Equation 9), on impressions and on sampled negatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.features.postings import KeyIndex
from model.data.load import Events
from model.examples.batches import BatchReader
from model.examples.clicks import Clicks
from model.examples.example_groups import ExampleGroups
from model.progress.bars import Bar

NE_NEGATIVES = 4

CHUNK = 1 << 20
"""Impressions whose losses are in memory at a time."""


def log_losses(logits: NDArray[np.floating], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Log loss of each sample, (S, tasks) like logits and labels; probabilities are clipped to [1e-7, 1 - 1e-7]."""
    p = np.clip(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60))), 1e-7, 1 - 1e-7)
    losses: NDArray[np.float64] = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    return losses


class NormalizedEntropy:
    """Average log loss divided by the entropy of the empirical rate, one value a task (Equation 9)."""

    def __init__(self, tasks: int) -> None:
        self.samples = 0
        self._loss = np.zeros(tasks)
        self._positives = np.zeros(tasks)

    def add(self, logits: NDArray[np.float32], labels: NDArray[np.float32]) -> None:
        """Counts samples: logits and labels (S, tasks)."""
        self._loss += log_losses(logits, labels).sum(axis=0)
        self._positives += labels.sum(axis=0)
        self.samples += len(labels)

    def values(self) -> list[float | None]:
        """NE of each task; None where all labels are the same, since their entropy is 0."""
        rate = self._positives / max(1, self.samples)
        varied = (rate > 0) & (rate < 1)
        p = np.where(varied, rate, 0.5)
        entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
        return [float(loss / self.samples / e) if defined else None
                for loss, e, defined in zip(self._loss, entropy, varied, strict=True)]


def impression_ne(reader: BatchReader, clicks: Clicks, index: KeyIndex,
                  events: Events) -> dict[str, float | None]:
    """NE of each task on impressions, each with the history before it; None for a task with labels of one class.

    Args:
        reader: of the model in eval mode.
        clicks: of train and test events, since an impression sees every earlier click.
        index: key index.
        events: the impressions to score.
    """
    entropy = NormalizedEntropy(len(reader.spec.tasks))
    logits = impression_logits(reader, clicks, index, events)
    for start in range(0, len(events), CHUNK):
        part = slice(start, start + CHUNK)
        entropy.add(logits[part], events.labels[part].astype(np.float32))
    return dict(zip((task.name for task in reader.spec.tasks), entropy.values(), strict=True))


def impression_logits(reader: BatchReader, clicks: Clicks, index: KeyIndex, events: Events) -> NDArray[np.float32]:
    """Logits (N, tasks) of N impressions, each with the history before it and in its own context.

    Arguments as for `impression_ne`.
    """
    found = np.empty((len(events), len(reader.spec.tasks)), np.float32)
    groups = ExampleGroups.of(reader.spec, events, clicks, 16)
    items = torch.from_numpy(reader.all_items()).to(reader.device)
    for start in Bar(range(0, len(groups.users), 1024), desc="NE", unit="batch", leave=False):
        chosen = np.arange(start, min(start + 1024, len(groups.users)))
        users = groups.users[chosen]
        before = groups.before[chosen] if groups.before is not None else None
        of_group = groups.events.take(chosen)
        of, owners = of_group.values, np.repeat(np.arange(len(chosen)), of_group.lengths)
        rows, context = events.items[of], None if events.context is None else events.context[of]
        with torch.no_grad():
            batch = reader.users(reader.dataset.users.take(users), clicks.histories(users, before=before), index)
            pairs = reader.pairs(batch, owners, rows, items[torch.from_numpy(rows).to(reader.device)], context)
            logits = reader.score_pairs(pairs) + reader.shift(context)
        found[of] = logits.cpu().numpy()
    return found


def sampled_ne(reader: BatchReader, clicks: Clicks, index: KeyIndex, events: Events, among: NDArray[np.integer],
               seed: int, *, task: int = 0, most: int = 4_000) -> float | None:
    """NE of a task on its positives with NE_NEGATIVES uniform negatives each, for a log of positives.

    Sampled training fixes logits up to a constant, so one intercept is fitted to the sample itself.

    Args:
        reader: of the model in eval mode.
        clicks: histories of the users, without the events.
        index: key index.
        events: positives.
        among: indices of the events to draw from; at most `most` are used.
        seed: of the draw.
        task: to measure.
        most: events.

    Returns:
        None where the task has no positive among them.
    """
    rng = np.random.default_rng([seed, 6])
    chosen = rng.permutation(among)[:most]
    chosen = chosen[events.labels[chosen, task] == 1]
    if not len(chosen):
        return None
    rows = np.concatenate([events.items[chosen][:, None].astype(np.int64),
                           rng.integers(0, len(reader.dataset.items), (len(chosen), NE_NEGATIVES))], axis=1)
    logits = []
    for start in range(0, len(chosen), 512):
        part = chosen[start : start + 512]
        history = clicks.histories(events.users[part])
        with torch.no_grad():
            users = reader.in_context(reader.users(reader.dataset.users.take(events.users[part]), history, index),
                                      None if events.context is None else events.context[part])
            at = rows[start : start + 512]
            scores = reader.model.link(reader.score_items(users, at, reader.items(at)))
            logits.append(scores[..., task].cpu().numpy())
    flat = np.concatenate(logits).astype(np.float64).reshape(-1, 1)
    labels = np.tile(np.arange(NE_NEGATIVES + 1) == 0, len(chosen)).astype(np.float32)[:, None]
    entropy = NormalizedEntropy(1)
    entropy.add((flat + _intercept(flat, float(labels.mean()))).astype(np.float32), labels)
    return entropy.values()[0]


def _intercept(logits: NDArray[np.float64], rate: float) -> float:
    """What to add to logits so that their mean probability is the rate, by bisection."""
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        too_high = (1 / (1 + np.exp(-np.clip(logits + middle, -60, 60)))).mean() > rate
        low, high = (low, middle) if too_high else (middle, high)
    return low
