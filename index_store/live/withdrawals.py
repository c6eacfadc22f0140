"""Withdrawals: the ads of a bundle that a change keeps from being returned, by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from index_store.live.by_position import replaced


class Status(StrEnum):
    """The status of an ad; an ad that was never changed is active.

    No write sets `unfit`: it is an ad whose features or targeting do not fit the declaration of the bundle.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"
    UNFIT = "unfit"


_NUMBERED = tuple(Status)


def status_number(status: Status) -> int:
    """The number of a status, as arrays hold it."""
    return _NUMBERED.index(status)


def status_at(number: int) -> Status:
    """The status of a number."""
    return _NUMBERED[number]


@dataclass(frozen=True)
class Withdrawal:
    """Why an ad is not returned: its status, which is not active, and the version of the change that set it."""

    status: Status
    version: int


@dataclass(frozen=True, eq=False)
class Withdrawals:
    """The withdrawn ads of one bundle, never changed; 13 bytes for each.

    Attributes:
        positions: (W,) int32, ascending.
        statuses: (W,) uint8, numbers of their statuses in the order of `Status`.
        versions: (W,) int64.
    """

    positions: NDArray[np.int32]
    statuses: NDArray[np.uint8]
    versions: NDArray[np.int64]

    @classmethod
    def none(cls) -> Withdrawals:
        return cls(np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.positions)

    def at(self, position: int) -> Withdrawal | None:
        """The withdrawal of the ad at a position; None if it is active."""
        index = int(np.searchsorted(self.positions, position))
        if index == len(self.positions) or self.positions[index] != position:
            return None
        return Withdrawal(status_at(int(self.statuses[index])), int(self.versions[index]))

    def replaced(self, changed: Mapping[int, Withdrawal]) -> Withdrawals:
        """These withdrawals with those of some positions replaced; an active ad leaves them."""
        coming = {position: one for position, one in changed.items() if one.status is not Status.ACTIVE}
        return Withdrawals(*replaced(self.positions, (self.statuses, self.versions), list(changed), list(coming),
                                     ([status_number(one.status) for one in coming.values()],
                                      [one.version for one in coming.values()])))
