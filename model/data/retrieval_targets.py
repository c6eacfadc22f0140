"""Targets of recall: the ads that each user clicked in the test events, and the masked ones clicked in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from model.data.load import Events


def retrieval_targets(train: Events, test: Events, users: int) -> tuple[Ragged, Ragged]:
    """The items to find and the masked items of every user: the positives of the first task.

    A masked item is never returned, so a repeated click would be a certain miss: it is not a target either.

    Args:
        train: the log.
        test: held-out events.
        users: of the data folder.

    Returns:
        Targets and masked items: each one list of item rows a user, the targets as often as they were clicked.
    """
    masked, clicked = _by_user(train, users), _by_user(test, users)
    owner = np.repeat(np.arange(users), clicked.lengths)
    new = ~np.isin(_pairs(owner, clicked.values), _pairs(np.repeat(np.arange(users), masked.lengths), masked.values))
    return Ragged.of_owners(owner[new], users, clicked.values[new]), masked


def _by_user(events: Events, users: int) -> Ragged:
    """Items with the first task's label; the events are sorted by user."""
    chosen = events.labels[:, 0] == 1
    return Ragged.of_owners(events.users[chosen], users, events.items[chosen])


def _pairs(users: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number for each pair of a user and an item, (N,), (N,) -> (N,)."""
    return users.astype(np.int64) << 32 | items.astype(np.int64)
