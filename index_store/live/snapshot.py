"""Snapshot: one bundle as of one change. It is never changed itself; each batch of changes makes a new one.

A request reads the newest snapshot once and uses it to its end, so that nothing in its answer mixes two states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.changes.change_log import NEVER_CHANGED, Change, Kind
from index_store.features.values import look_up
from index_store.live.users import LiveUsers
from index_store.live.withdrawals import Status, Withdrawal, Withdrawals
from index_store.targeting.eligibility import PositionBitmap
from index_store.tree.tree import Tree

STATUS = "status"
"""Name of the field of a change that holds the status of its ad."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Snapshot:
    """The ads and users of a bundle and what has become of them.

    Attributes:
        item_ids: (n_items,) sorted ids of the bundle's ads.
        tree: of the bundle.
        users: what the log says about users.
        as_of: sequence number of the last change that it includes; at first that of the bundle, 0 if it includes none.
        withdrawals: the ads that must not be returned.
        live: positions of the others; None if no ad is withdrawn.
    """

    item_ids: NDArray[np.bytes_]
    tree: Tree
    users: LiveUsers
    as_of: int = NEVER_CHANGED
    withdrawals: Withdrawals = field(default_factory=Withdrawals.none)
    live: PositionBitmap | None = None

    def with_changes(self, changes: Sequence[Change]) -> Self:
        """The snapshot after some changes, in order; those that it includes and those of other ads are left out."""
        fresh = [change for change in changes if change.sequence > self.as_of]
        if not fresh:
            return self
        as_of, users = fresh[-1].sequence, self.users.with_changes(fresh)
        last = {change.id: change for change in fresh if change.kind is Kind.AD}
        rows = look_up(self.item_ids, np.array([ad_id.encode() for ad_id in last], np.bytes_))
        positions = self.tree.position_of_row[rows].tolist()
        changed = {at: Withdrawal(status_of(change), change.sequence)
                   for at, row, change in zip(positions, rows.tolist(), last.values(), strict=True) if row >= 0}
        if not changed:
            return replace(self, as_of=as_of, users=users)
        withdrawals = self.withdrawals.replaced(changed)
        live = self._live_after(changed) if len(withdrawals) else None
        return replace(self, as_of=as_of, users=users, withdrawals=withdrawals, live=live)

    def with_statuses(self, states: Iterable[Change]) -> Self:
        """The snapshot with the statuses of ads as of the same change, which a bundle does not hold.

        Args:
            states: the last changes of ads up to `as_of`; the bundle includes everything else in them.
        """
        statuses = [replace(state, fields={STATUS: status_of(state).value}) for state in states]
        withdrawn = [state for state in statuses if status_of(state) is not Status.ACTIVE]
        return replace(replace(self, as_of=NEVER_CHANGED).with_changes(withdrawn), as_of=self.as_of)

    def withdrawal(self, row: int) -> Withdrawal | None:
        """Why the ad of an item row is not returned; None if no change keeps it."""
        return self.withdrawals.at(int(self.tree.position_of_row[row]))

    def _live_after(self, changed: Mapping[int, Withdrawal]) -> PositionBitmap:
        before = PositionBitmap.full(self.tree.n_items) if self.live is None else self.live
        live = before.replaced(np.array(list(changed), np.int64),
                               np.array([one.status is Status.ACTIVE for one in changed.values()]))
        _ = live.ranks  # here, in the thread that makes it, and not in the first search that reads it
        return live


def status_of(change: Change | None) -> Status:
    """The status of an ad by its last change, None for one that was never changed."""
    return Status(change.fields.get(STATUS, Status.ACTIVE)) if change is not None else Status.ACTIVE
