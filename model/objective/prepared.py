"""A batch before the network, and the part of it that a worker learns from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from index_store.features.encoder import Features
from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from model.examples.mixed_negatives import Drawn
from model.examples.negatives import Candidates
from model.examples.user_batch import UserBatch, UserFeatures


@dataclass(frozen=True)
class UserInputs:
    """The users of a batch: rows of B users, their fields and histories, and the batch's key index."""

    users: NDArray[np.integer]
    features: Features
    history: Ragged
    index: KeyIndex

    def part(self, users: slice) -> UserInputs:
        """Some of the users."""
        rows = np.arange(users.start, users.stop)
        return UserInputs(self.users[users], self.features.take(rows), self.history.part(users), self.index)


@dataclass(frozen=True)
class Prepared:
    """A batch of B groups of examples, read up to where weights are needed.

    Attributes:
        inputs: its users as they are.
        users: the same, a share of them as unknown.
        own: (B, P) item rows of each group's events.
        filled: (B, P) bool, which cells hold an event.
        events: (S,) the events, cell by cell.
        rows: (B, P + M) `own`, then the sampled negatives; in a log of impressions (S,) those of the events.
        features: (B, P + M, F) or (S, F) interaction features of `rows`.
        drawn, candidates: the negatives and their correction; None in a log of impressions.
        context: ids of the context fields of the events (S, fields), of a log of positives those of the groups
            (B, fields); None if the model reads none.
    """

    inputs: UserInputs
    users: UserFeatures
    own: NDArray[np.int64]
    filled: NDArray[np.bool_]
    events: NDArray[np.int32]
    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    drawn: Drawn | None
    candidates: Candidates | None
    context: NDArray[np.int32] | None

    @property
    def owners(self) -> NDArray[np.int64]:
        """The group (S,) of each event, ascending."""
        return np.nonzero(self.filled)[0]

    def with_index(self, index: KeyIndex | None) -> Prepared:
        """The batch with this key index; with None it travels between workers, who have the index already."""
        mine = cast(KeyIndex, index)
        return replace(self, inputs=replace(self.inputs, index=mine), users=replace(self.users, index=mine))

    def part(self, groups: slice) -> Prepared:
        """The batch of some of the groups alone, with as many columns as before."""
        events, pairs = self.events_of(groups), self.pairs_of(groups)
        candidates, context = self.candidates, self.context
        return replace(
            self, inputs=self.inputs.part(groups), users=self.users.part(groups), own=self.own[groups],
            filled=self.filled[groups], events=self.events[events], rows=self.rows[pairs],
            features=self.features[pairs], drawn=None if self.drawn is None else self.drawn.part(groups),
            candidates=None if candidates is None else candidates.part(groups),
            context=None if context is None else context[pairs])

    def events_of(self, groups: slice) -> slice:
        """Which events are those of some of the groups."""
        first, end = (int(self.filled[:stop].sum()) for stop in (groups.start, groups.stop))
        return slice(first, end)

    def pairs_of(self, groups: slice) -> slice:
        """Which of the first axis of `rows` are those of some of the groups."""
        return groups if self.drawn is not None else self.events_of(groups)

    def share_of(self, whole: Prepared, labels: NDArray[np.number]) -> NDArray[np.float64]:
        """The share (tasks,) of this part of a batch in what the batch's loss is the mean over, for each task.

        That is the samples, in a log of positives those with the task's label (N, tasks).
        """
        if whole.drawn is None:
            return np.full(labels.shape[1], len(self.events) / len(whole.events))
        here, there = (np.maximum(labels[batch.events].sum(axis=0), 1) for batch in (self, whole))
        return np.asarray(here / there, np.float64)


@dataclass(frozen=True)
class OwnPart:
    """What a worker learns from of a batch.

    Attributes:
        batch: of its groups.
        users: their users, without their context.
        items: (B, P + M, Di) or (S, Di) their items, see `Prepared.rows`.
        weights: (tasks,) of the tasks in its loss, a mean over its own examples.
        counts: whether it has examples of its own.
    """

    batch: Prepared
    users: UserBatch
    items: Tensor
    weights: Tensor
    counts: bool
