"""Snapshot: one bundle as of one change. It is never changed itself; each batch of changes makes a new one.

A request reads the newest snapshot once and uses it to its end, so that nothing in its answer mixes two states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as copied
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign_ads import CampaignAds
from index_store.budgets.gates import Gates
from index_store.budgets.live_budgets import LiveBudgets
from index_store.changes.change_log import NEVER_CHANGED, Change, Kind
from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.history import History
from index_store.features.ragged import Ragged
from index_store.features.vocabulary import look_up, look_up_one
from index_store.live.ad_changes import STATUS, AdChanges, status_of
from index_store.live.added_ads import AddedAds
from index_store.live.arrivals import Arrivals
from index_store.live.user_history import AD_ID, TYPE, EventType
from index_store.live.users import LiveUsers
from index_store.live.withdrawals import Status, Withdrawal, Withdrawals
from index_store.search.scoring import AddedItems
from index_store.targeting.changed_ads import ChangedAds
from index_store.targeting.targeting import Targeting
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree
from index_store.value.bids import AdBids, Bid
from index_store.value.live_bids import LiveBids
from index_store.value.track_records import CLICKS, IMPRESSIONS, TrackRecords


@dataclass(frozen=True, eq=False, kw_only=True)
class Snapshot:
    """The ads and users of a bundle and what has become of them.

    Attributes:
        encoder, tree: of the bundle.
        targeting: of its ads.
        arrivals: encodes ads for it.
        users: what the log says about users.
        as_of: sequence number of the last change that it includes; at first that of the bundle, 0 if it includes none.
        withdrawals: the ads of the tree that must not be returned.
        added: ads beyond the tree, in place of those of the same ids in it; None if there are none.
        changed: the same for targeting.
        bids: of all ads.
        records: impressions and clicks of all ads: those that the bundle knows, and the events since.
        unfit: ad -> why its last change does not fit the bundle; such an ad is not returned.
        gates: of the campaigns; None if the bundle declares no field that names them.
    """

    encoder: FeatureEncoder
    tree: Tree
    targeting: Targeting
    arrivals: Arrivals
    users: LiveUsers
    as_of: int = NEVER_CHANGED
    withdrawals: Withdrawals = field(default_factory=Withdrawals.none)
    added: AddedAds | None = None
    changed: ChangedAds
    bids: LiveBids
    records: TrackRecords
    unfit: Mapping[str, str] = field(default_factory=dict)
    gates: Gates | None = None

    @classmethod
    def sealed(cls, encoder: FeatureEncoder, tree: Tree, targeting: Targeting, arrivals: Arrivals,
               as_of: int = NEVER_CHANGED, bids: AdBids | None = None,
               records: NDArray[np.integer] | None = None, items: Features | None = None) -> Self:
        """A bundle without changes but those that it includes.

        Args:
            encoder, tree, targeting, arrivals, as_of: as of the snapshot.
            bids: of its ads, by position.
            records: impressions and clicks (n_items, 2) of its ads, by position; None if it does not know them.
            items: its ads, by row, which say what campaigns they belong to.
        """
        ads = None if items is None else CampaignAds.of(encoder, items, tree.rows)
        return cls(encoder=encoder, tree=tree, targeting=targeting, arrivals=arrivals, users=LiveUsers.none(encoder),
                   as_of=as_of, changed=targeting.unchanged, bids=LiveBids.sealed(tree, bids),
                   records=TrackRecords.sealed(tree.n_items, records),
                   gates=None if ads is None else Gates(budgets=LiveBudgets(), ads=ads))

    def with_changes(self, changes: Sequence[Change]) -> Snapshot:
        """The snapshot after some changes, in order; those that it includes are left out."""
        fresh = [change for change in changes if change.sequence > self.as_of]
        if not fresh:
            return self
        as_of, users = fresh[-1].sequence, self.users.with_changes(fresh)
        ads = {change.id: change for change in fresh if change.kind is Kind.AD}
        after = AdChanges(self, ads).snapshot(as_of, users)
        return copied(after, records=self._records(after, fresh)).with_spending(fresh)

    def with_campaigns(self, changes: Sequence[Change]) -> Snapshot:
        """With what earlier changes, in order, say about campaigns: budgets, spending, and what users have seen.

        A bundle holds nothing of it, though it includes everything else in them.
        """
        return copied(self, users=self.users.with_impressions(changes)).with_spending(changes)

    def with_spending(self, changes: Iterable[Change]) -> Snapshot:
        """With the budgets and the spending in some changes, and nothing else of them."""
        if self.gates is None:
            return self
        budgets = self.gates.budgets.with_changes(changes)
        return self if budgets is self.gates.budgets else copied(self, gates=self.gates.after(budgets, self.gates.ads))

    def without_log(self, since: float | None, closed: bool) -> Snapshot:
        """With a change log that has not been readable since a time, or is again (None); see Gates."""
        return self if self.gates is None else copied(self, gates=self.gates.without_log(since, closed))

    def _records(self, after: Snapshot, changes: Sequence[Change]) -> TrackRecords:
        """The counts of a snapshot that follows this one, with the events in between."""
        records, beyond = self.records, 0 if self.added is None else len(self.added)
        if after.added is not None and len(after.added) > beyond:
            rows = np.array([-1 if (row := self.row(after.added.ad_id(added))) is None else row
                             for added in range(beyond, len(after.added))])
            records = records.extended(np.where(rows < 0, -1, self.positions(rows)))
        shown: dict[bytes, list[int]] = {}
        for change in changes:
            if change.kind is Kind.EVENT and change.fields[TYPE] != EventType.CONVERSION:
                counts = shown.setdefault(change.fields[AD_ID].encode(), [0, 0])
                counts[CLICKS if change.fields[TYPE] == EventType.CLICK else IMPRESSIONS] += 1
        rows = after.rows(np.array(list(shown), np.bytes_)) if shown else np.empty(0, np.int64)
        known = rows >= 0
        return records.counted(after.positions(rows[known]), np.array(list(shown.values()), np.int64)[known])

    @cached_property
    def scored(self) -> AddedItems | None:
        """The ads beyond the tree, as the scorer reads them."""
        return None if self.added is None else self.added.scored()

    @property
    def n_added(self) -> int:
        """Number of ads that are returned from beyond the tree."""
        return 0 if self.added is None else int(self.added.live.sum())

    @property
    def n_withdrawn(self) -> int:
        """Number of ads, in the tree and beyond, that are not returned."""
        return len(self.withdrawals) + (0 if self.added is None else int(self.added.current.sum()) - self.n_added)

    @property
    def placed(self) -> PlacedItems | None:
        """Where the ads beyond the tree are."""
        return None if self.added is None else self.added.placed

    def row(self, ad_id: bytes) -> int | None:
        """The row of an ad, from the number of the tree's items on for one beyond it; None for an unknown ad."""
        beyond = None if self.added is None else self.added.row(ad_id)
        if beyond is not None:
            return self.tree.n_items + beyond
        row = look_up_one(self.encoder.item_ids, ad_id)
        return None if row < 0 else row

    def rows(self, ad_ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Rows of ads (N,), -1 for an unknown one."""
        rows = look_up(self.encoder.item_ids, ad_ids)
        if self.added is None:
            return rows
        beyond = self.added.rows_of(ad_ids)
        return np.where(beyond < 0, rows, self.tree.n_items + beyond)

    def newest(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """The rows that ads at some rows (N,) have now: an ad of the bundle whose features changed has another."""
        newest = rows.astype(np.int64)
        if self.added is None:
            return newest
        beyond, live = newest >= self.tree.n_items, self.changed.live
        moved = beyond.copy()
        if live is not None:  # one that has another row is not live in the tree, and few are not
            moved |= ~beyond & ~live.contains(self.tree.position_of_row.take(newest, mode="clip"))
        ids = np.array([ad_id.encode() for ad_id in self.ad_ids(newest[moved])], np.bytes_)
        newest[moved] = self.rows(ids)
        return newest

    def ad_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Ids of rows (N,)."""
        n_items, ids = self.tree.n_items, self.encoder.item_ids
        known = ids.take(rows, mode="clip").tolist()
        return [(ad if row < n_items or self.added is None else self.added.ad_id(row - n_items)).decode()
                for ad, row in zip(known, rows.tolist(), strict=True)]

    def history(self, rows: NDArray[np.int32], fields: Mapping[str, Ragged]) -> History:
        """A user's history by rows of ads (M,), given item field -> ids of the bundle's ads by item row."""
        if self.added is None or not (rows >= self.tree.n_items).any():
            return History.of(rows, fields)
        return self.added.history(rows, self.encoder, fields)

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions (N,) of rows; those beyond the tree are the same."""
        of_tree = self.tree.position_of_row.take(rows, mode="clip")
        return np.where(rows < self.tree.n_items, of_tree, rows)

    def bid(self, row: int) -> Bid | None:
        """What the ad of a row pays; None if it has no bid."""
        return self.bids.listed(self.positions(np.array([row])))[0]

    def campaign(self, row: int) -> str | None:
        """The campaign of the ad of a row; None if it has none, or the bundle declares none."""
        return None if self.gates is None else self.gates.ads.name_at(int(self.positions(np.array([row]))[0]))

    def ads_of(self, campaign: str) -> int:
        """Number of the ads of a campaign that may be returned."""
        if self.gates is None:
            return 0
        positions = self.gates.ads.positions(campaign)
        beyond, live = positions >= self.tree.n_items, self.changed.live
        in_tree = positions[~beyond]
        counted = len(in_tree) if live is None else int(live.contains(in_tree).sum())
        return counted + (0 if self.added is None else
                          int(self.added.live[positions[beyond] - self.tree.n_items].sum()))

    def with_statuses(self, states: Iterable[Change]) -> Snapshot:
        """The snapshot with the statuses of ads as of the same change, which a bundle does not hold.

        Args:
            states: the last changes of ads up to `as_of`; the bundle includes everything else in them.
        """
        statuses = [copied(state, fields={STATUS: status_of(state).value}) for state in states]
        withdrawn = [state for state in statuses if status_of(state) is not Status.ACTIVE]
        return copied(copied(self, as_of=NEVER_CHANGED).with_changes(withdrawn), as_of=self.as_of)

    def withdrawal(self, row: int) -> Withdrawal | None:
        """Why the ad of a row is not returned; None if no change keeps it."""
        beyond = row - self.tree.n_items
        if beyond >= 0 and self.added is not None:
            return self.added.withdrawal(beyond)
        return self.withdrawals.at(int(self.tree.position_of_row[row]))
