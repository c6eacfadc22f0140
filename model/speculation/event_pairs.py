"""What a model says of pairs: logits and interaction embeddings of logged events, and of ads that it could propose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.load import Events
from model.examples.clicks import Clicks
from model.examples.example_groups import ExampleGroups
from model.network.monn import PairLayers
from model.progress.bars import Bar
from model.runs.run import Run

_GROUPS, _USERS = 512, 64


@dataclass(frozen=True, eq=False)
class PairOutputs:
    """Of P pairs.

    Attributes:
        logits: (P, tasks) float32, without what context adds.
        embeddings: (P, H) float32 interaction embeddings; of width 0 if they were not asked for.
    """

    logits: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def mean_of(outputs: Sequence[PairOutputs]) -> PairOutputs:
    """Of a foundation model of several runs: the mean of their logits, and their embeddings joined."""
    return PairOutputs(np.mean([one.logits for one in outputs], axis=0, dtype=np.float32),
                       np.concatenate([one.embeddings for one in outputs], axis=1))


def outputs_of_events(run: Run, clicks: Clicks, events: Events, *, embed: bool) -> PairOutputs:
    """Of N events, each with the history before it and in its own context.

    Args:
        run: its model in eval mode.
        clicks: of all events up to the last one.
        events: whose pairs to score.
        embed: whether the embeddings are wanted; the over-arch is a Wukong then.
    """
    reader, found = run.reader, _Collected(len(events))
    groups = ExampleGroups.of(reader.spec, events, clicks, 16)
    items = torch.from_numpy(reader.all_items()).to(reader.device)
    for start in Bar(range(0, len(groups.users), _GROUPS), desc="events", unit="batch", leave=False):
        chosen = np.arange(start, min(start + _GROUPS, len(groups.users)))
        users = groups.users[chosen]
        before = None if groups.before is None else groups.before[chosen]
        of_group = groups.events.take(chosen)
        of, owners = of_group.values, np.repeat(np.arange(len(chosen)), of_group.lengths)
        rows, context = events.items[of], None if events.context is None else events.context[of]
        with torch.no_grad():
            batch = reader.users(reader.dataset.users.take(users), clicks.histories(users, before=before),
                                 run.key_index)
            pairs = reader.pairs(batch, owners, rows, items[torch.from_numpy(rows).to(reader.device)], context)
            features = reader.tensor(reader.pair_features(batch, owners, rows))
            found.take(of, run.model.scorers[-1], pairs.embeddings, pairs.items[:, None], features[:, None],
                       embed)
    return found.outputs()


def outputs_of_candidates(run: Run, clicks: Clicks, users: NDArray[np.integer], rows: NDArray[np.integer], *,
                          embed: bool) -> PairOutputs:
    """Of U users with C items each, P = U x C row by row, in no context.

    Args:
        run: its model in eval mode.
        clicks: the histories.
        users: (U,) rows.
        rows: (U, C) of the items.
        embed: as for `outputs_of_events`.
    """
    reader, found = run.reader, _Collected(rows.size)
    items = torch.from_numpy(reader.all_items()).to(reader.device)
    for start in Bar(range(0, len(users), _USERS), desc="proposals", unit="batch", leave=False):
        some, own = users[start:start + _USERS], rows[start:start + _USERS]
        with torch.no_grad():
            batch = reader.users(reader.dataset.users.take(some), clicks.histories(some), run.key_index)
            found.take(np.arange(start * rows.shape[1], start * rows.shape[1] + own.size), run.model.scorers[-1],
                       batch.embeddings, items[torch.from_numpy(own).to(reader.device)],
                       reader.tensor(reader.features(batch, own)), embed)
    return found.outputs()


class _Collected:
    """Collects outputs of pairs in any order."""

    def __init__(self, pairs: int) -> None:
        self._pairs = pairs
        self._logits: NDArray[np.float32] | None = None
        self._embeddings = np.empty((pairs, 0), np.float32)

    def take(self, at: NDArray[np.integer], layers: PairLayers, users: torch.Tensor, items: torch.Tensor,
             features: torch.Tensor, embed: bool) -> None:
        """Scores (B, N) pairs, which are those `at` (B x N,); arguments as for `PairLayers.score`."""
        logits = layers.score(users, items, features).flatten(0, 1).cpu().numpy()
        if self._logits is None:
            self._logits = np.empty((self._pairs, logits.shape[1]), np.float32)
        self._logits[at] = logits
        if embed:
            embeddings = layers.interaction_embedding(users, items, features).flatten(0, 1).cpu().numpy()
            if not self._embeddings.shape[1]:
                self._embeddings = np.empty((self._pairs, embeddings.shape[1]), np.float32)
            self._embeddings[at] = embeddings

    def outputs(self) -> PairOutputs:
        assert self._logits is not None, "there are pairs"
        return PairOutputs(self._logits, self._embeddings)
