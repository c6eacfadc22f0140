"""What a bench asks: users with test ads, the ads they clicked since, and those of training, which are excluded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from model.data.load import Dataset, Events
from model.data.tables import DataError
from service.contract.query import EncodedUser


@dataclass(frozen=True)
class Questions:
    """What is asked of a bundle.

    Attributes:
        users: (Q,) user rows with test ads, in random order.
        targets: Q lists of test ads, as item rows.
        seen: Q lists of train ads, which are excluded.
        fresh: whether none of them chose the bundle's beam.
    """

    users: NDArray[np.int64]
    targets: Ragged
    seen: Ragged
    fresh: bool = True

    def __len__(self) -> int:
        return len(self.users)


def ask(dataset: Dataset, opened: Bundle, most: int, seed: int, spared: NDArray[np.integer]) -> Questions:
    """Draws the users to ask.

    Args:
        dataset: the log that the bundle was trained on.
        opened: the bundle.
        most: users to draw, 0 = all that there are.
        seed: of the draw.
        spared: user rows that are not asked, since the bundle's beam was chosen on them; in a world so small that
            nobody else has test ads they are asked all the same.

    Raises:
        DataError: dataset and bundle do not belong together, or there is nobody to ask.
    """
    check_same_world(opened, dataset.encoder.item_ids, dataset.user_ids, "the data folder",
                     "give the folder that the bundle was trained on")
    if dataset.test is None:
        raise DataError("the data folder has no test_events.parquet; the bench needs events that were not trained on")
    targets, seen = (_by_user(events, len(dataset.user_ids)) for events in (dataset.test, dataset.train))
    possible = np.flatnonzero(targets.lengths)
    if not len(possible):
        raise DataError(f"none of the {len(dataset.user_ids)} users has a test event of the first task; the bench "
                        "needs one at least: give a log with more test events")
    fresh = np.setdiff1d(possible, spared)
    asked = np.random.default_rng([seed, 0]).permutation(fresh if len(fresh) else possible)
    asked = asked[:most] if most else asked
    return Questions(asked, targets.take(asked), seen.take(asked), bool(len(fresh)))


def check_same_world(opened: Bundle, item_ids: NDArray[np.bytes_], user_ids: NDArray[np.bytes_], what: str,
                     remedy: str) -> None:
    """Refuses what is of other ads or users than the bundle.

    Raises:
        DataError: naming both and the remedy.
    """
    content = opened.content
    if not np.array_equal(item_ids, content.encoder.item_ids) or not np.array_equal(user_ids, content.users.ids):
        raise DataError(f"{what} has {len(item_ids)} ads and {len(user_ids)} users, the bundle "
                        f"{len(content.encoder.item_ids)} and {len(content.users.ids)}, or others; {remedy}")


def encoded(opened: Bundle, row: int) -> EncodedUser:
    """A user of the bundle's user table as the towers read it."""
    users = opened.content.users
    return EncodedUser(users.features.take(np.array([row])), users.history.row(row))


def _by_user(events: Events, users: int) -> Ragged:
    """Items with the first task's label, by user."""
    chosen = events.labels[:, 0] == 1
    return Ragged.of_owners(events.users[chosen], users, events.items[chosen])
