"""Queries of a bench: users with test ads, those ads as targets, and their train ads, which are excluded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from model.data.load import Dataset
from model.data.retrieval_targets import retrieval_targets
from model.data.tables import DataError
from service.contract.query import EncodedUser


@dataclass(frozen=True)
class QuerySet:
    """Users whose top ads every search looks for.

    Attributes:
        users: (Q,) user rows with test ads, in random order.
        targets: Q lists of test ads that are not among `seen`, as item rows.
        seen: Q lists of train ads, which are excluded.
        fresh: whether the bundle's beam was tuned on none of these users.
    """

    users: NDArray[np.int64]
    targets: Ragged
    seen: Ragged
    fresh: bool = True

    def __len__(self) -> int:
        return len(self.users)


def draw_queries(dataset: Dataset, opened: Bundle, most: int, seed: int,
                 tuned_on: NDArray[np.integer]) -> QuerySet:
    """Draws users with test ads.

    Args:
        dataset: the log that the bundle was trained on.
        opened: the bundle.
        most: users to draw, 0 = all.
        seed: of the draw.
        tuned_on: user rows that are left out because the bundle's beam was tuned on them; they are drawn after all if
            no other user has test ads.

    Raises:
        DataError: dataset and bundle do not belong together, or no user has test ads.
    """
    check_same_world(opened, dataset.encoder.item_ids, dataset.user_ids, "the data folder",
                     "give the folder that the bundle was trained on")
    if dataset.test is None:
        raise DataError("the data folder has no test_events.parquet; the bench needs events that were not used in "
                        "training")
    targets, seen = retrieval_targets(dataset.train, dataset.test, len(dataset.user_ids))
    possible = np.flatnonzero(targets.lengths)
    if not len(possible):
        raise DataError(f"none of the {len(dataset.user_ids)} users has a positive test event of the first task on "
                        "an ad that is new to the user; the bench needs at least one: give a log with more test events")
    fresh = np.setdiff1d(possible, tuned_on)
    users = np.random.default_rng([seed, 0]).permutation(fresh if len(fresh) else possible)
    users = users[:most] if most else users
    return QuerySet(users, targets.take(users), seen.take(users), bool(len(fresh)))


def check_same_world(opened: Bundle, item_ids: NDArray[np.bytes_], user_ids: NDArray[np.bytes_], what: str,
                     remedy: str) -> None:
    """Checks that another bundle or data folder has the same ads and users as the bundle.

    Args:
        opened: the bundle.
        item_ids, user_ids: all ids of what is checked.
        what, remedy: its name, and what to do otherwise, for the message.

    Raises:
        DataError: it has not; names both sizes and the remedy.
    """
    content = opened.content
    if not np.array_equal(item_ids, content.encoder.item_ids) or not np.array_equal(user_ids, content.users.ids):
        raise DataError(f"{what} has {len(item_ids)} ads and {len(user_ids)} users, the bundle "
                        f"{len(content.encoder.item_ids)} and {len(content.users.ids)}, or other ids; {remedy}")


def encoded(opened: Bundle, row: int) -> EncodedUser:
    """A user of the bundle's user table, encoded for the towers."""
    users = opened.content.users
    return EncodedUser(users.features.take(np.array([row])), users.history.row(row))
