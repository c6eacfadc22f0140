"""Withdrawals: the ads of a bundle that a change keeps from being returned, by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Status(StrEnum):
    """The status of an ad; an ad that was never changed is active."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


_NUMBERED = tuple(Status)


@dataclass(frozen=True)
class Withdrawal:
    """Why an ad is not returned: its status, paused or deleted, and the version of the change that set it."""

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
        return Withdrawal(_NUMBERED[self.statuses[index]], int(self.versions[index]))

    def replaced(self, changed: Mapping[int, Withdrawal]) -> Withdrawals:
        """These withdrawals with those of some positions replaced; an active ad leaves them."""
        positions = np.array(sorted(changed), np.int32)
        at = np.searchsorted(self.positions, positions)
        at = at[self.positions.take(at, mode="clip") == positions] if len(self) else at[:0]
        left = np.delete(self.positions, at)
        added = [(position, changed[position]) for position in positions.tolist()
                 if changed[position].status is not Status.ACTIVE]
        positions = np.array([position for position, _ in added], np.int32)
        places = np.searchsorted(left, positions)
        statuses, versions = np.delete(self.statuses, at), np.delete(self.versions, at)
        return Withdrawals(np.insert(left, places, positions),
                           np.insert(statuses, places, [_NUMBERED.index(one.status) for _, one in added]),
                           np.insert(versions, places, [one.version for _, one in added]))
