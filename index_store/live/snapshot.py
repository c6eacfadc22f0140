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

from index_store.budgets.campaign_ads import NO_CAMPAIGN, CampaignAds
from index_store.budgets.gates import Gates
from index_store.budgets.live_budgets import LiveBudgets
from index_store.changes.change_log import NEVER_CHANGED, Change, Kind
from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.history import History
from index_store.features.ragged import Ragged
from index_store.features.values import FeatureError, look_up, look_up_one
from index_store.live.added_ads import AddedAds, Said
from index_store.live.arrivals import Arrivals, equal
from index_store.live.by_position import replaced
from index_store.live.user_history import AD_ID, TYPE, EventType
from index_store.live.users import FEATURES, LiveUsers
from index_store.live.withdrawals import Status, Withdrawal, Withdrawals
from index_store.search.scoring import AddedItems
from index_store.targeting.changed_ads import ChangedAds
from index_store.targeting.eligibility import PositionBitmap
from index_store.targeting.predicates import Predicate, PredicateError, parse_predicate
from index_store.targeting.targeting import NO_PREDICATE, Targeting
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree
from index_store.value.bids import BID, AdBids, Bid, parse_bid
from index_store.value.live_bids import LiveBids
from index_store.value.track_records import CLICKS, IMPRESSIONS, TrackRecords

STATUS, TARGETING = "status", "targeting"
"""Fields of a change of an ad besides FEATURES and BID: its status, and its predicate, null for none. An ad without
features, predicate or bid of its own has those of the bundle."""


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
        after = _After(self, {change.id: change for change in fresh if change.kind is Kind.AD}).snapshot(as_of, users)
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


@dataclass(frozen=True)
class _Given:
    """What a change gives of an ad; None for what it leaves to the bundle, and for what the ad has none of."""

    predicate: Predicate | None = None
    features: Features | None = None
    bid: Bid | None = None


class _After:
    """Applies the last changes of some ads to a snapshot."""

    def __init__(self, before: Snapshot, last: Mapping[str, Change]) -> None:
        self._before, self._n_items = before, before.tree.n_items
        self._unfit = {ad_id: reason for ad_id, reason in before.unfit.items() if ad_id not in last}
        keys = [ad_id.encode() for ad_id in last]
        rows = look_up(before.encoder.item_ids, np.array(keys, np.bytes_))
        self._known = before.tree.position_of_row[rows].tolist()
        self._in_tree = (rows >= 0).tolist()
        read = [self._read(change) for change in last.values()]
        self._predicates = before.changed.live_predicates.extended(
            [one.predicate for one in read if one.predicate is not None and not before.targeting.knows(one.predicate)],
            before.encoder)
        self._withdrawn: dict[int, Withdrawal] = {}
        self._retargeted: dict[int, int | None] = {}
        self._moved: list[int] = []
        self._bids: dict[int, Bid | None] = {}
        self._changed: dict[int, Said] = {}
        self._campaigns: dict[int, int] = {}
        self._arrived: dict[bytes, tuple[Features, Said]] = {}
        for at, (key, change, given) in enumerate(zip(keys, last.values(), read, strict=True)):
            self._apply(at, key, change, given)

    def snapshot(self, as_of: int, users: LiveUsers) -> Snapshot:
        """The snapshot after them and what else is new until then."""
        before = self._before
        if not (self._withdrawn or self._changed or self._arrived):  # they are all about ads of other bundles
            return copied(before, as_of=as_of, users=users, unfit=self._unfit)
        added = self._added()
        withdrawals = before.withdrawals.replaced(self._withdrawn)
        retargeted, predicates = self._targets()
        live = self._live()
        changed = ChangedAds(
            encoder=before.encoder, live=live, retargeted=retargeted, predicates=predicates,
            live_predicates=self._predicates,
            added=None if added is None else added.targeted())
        bids = before.bids.after(self._bids, self._withdrawn, live, None if added is None else added.bidding())
        after = copied(before, as_of=as_of, users=users, withdrawals=withdrawals, added=added, changed=changed,
                       bids=bids, unfit=self._unfit, gates=self._gates(added))
        if added is not None:
            added.placed.prepare()  # here, in the thread that makes it, and not in the first search that reads it
        return after

    def _read(self, change: Change) -> _Given:
        """What a change gives; nothing if the ad is deleted or unfit."""
        fields, spec = change.fields, self._before.encoder.spec
        if status_of(change) is Status.DELETED:
            return _Given()
        try:
            targeting, bid = fields.get(TARGETING), fields.get(BID)
            return _Given(None if targeting is None else parse_predicate(targeting, spec.audience_kinds),
                          self._before.arrivals.features(fields[FEATURES]) if FEATURES in fields else None,
                          None if bid is None else parse_bid(bid, spec.paid))
        except (FeatureError, PredicateError) as error:
            self._unfit[change.id] = f"{error}"
            return _Given()

    def _apply(self, at: int, key: bytes, change: Change, given: _Given) -> None:
        before, in_tree, position = self._before, self._in_tree[at], self._known[at]
        predicate, features = given.predicate, given.features
        unfit = change.id in self._unfit
        if predicate is not None:
            number = before.targeting.number(predicate, self._predicates)
        else:
            of_bundle = in_tree and TARGETING not in change.fields
            number = before.targeting.number_at(position) if of_bundle else NO_PREDICATE
        bid = before.bids.items.bid(position) if in_tree and BID not in change.fields else given.bid
        row = None if before.added is None else before.added.row(key)
        said = Said(status=Status.UNFIT if unfit else status_of(change), version=change.sequence, predicate=number,
                    bid=bid, campaign=self._campaign(change, unfit, row, position if in_tree else None))
        if row is not None:
            assert before.added is not None
            if features is None or equal(before.added.ads.features.take(np.array([row])), features):
                self._changed[row] = said
            else:
                self._arrived[key] = features, said
        elif features is not None and not (in_tree and not before.arrivals.differ(
                int(before.tree.rows[position]), features)):
            self._arrived[key] = features, said
            if in_tree:
                self._moved.append(position)
                self._withdrawn[position], self._retargeted[position] = Withdrawal(Status.ACTIVE, 0), None
        elif in_tree:
            self._withdrawn[position] = Withdrawal(said.status, change.sequence)
            if BID in change.fields:
                self._bids[position] = bid
            self._retargeted[position] = None if number == before.targeting.number_at(position) else number
            if before.gates is not None and before.gates.ads.at(position) != said.campaign:
                self._campaigns[position] = said.campaign  # of a name that the bundle takes for none

    def _campaign(self, change: Change, unfit: bool, row: int | None, position: int | None) -> int:
        """The number of the campaign of an ad, at a row beyond the tree or a position of it if it is there already."""
        gates = self._before.gates
        if gates is None:
            return NO_CAMPAIGN
        if FEATURES in change.fields and not unfit:
            return gates.ads.number_of(change.fields[FEATURES])
        if row is not None:
            return int(gates.ads.of_added[row])
        return NO_CAMPAIGN if position is None else gates.ads.at(position)

    def _gates(self, added: AddedAds | None) -> Gates | None:
        gates = self._before.gates
        if gates is None:
            return None
        of_added = gates.ads.of_added if added is None else added.campaigns
        return gates.after(gates.budgets, gates.ads.changed(self._campaigns, of_added))

    def _added(self) -> AddedAds | None:
        before, arrived = self._before, self._arrived
        added = None if before.added is None else before.added.changed(self._changed)
        if not arrived:
            return added
        ads = before.arrivals.encode(list(arrived), [features for features, _ in arrived.values()])
        said = [one for _, one in arrived.values()]
        if added is None:
            return AddedAds.first(before.tree, list(arrived), ads, said)
        return added.extended(list(arrived), ads, said)

    def _targets(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Positions whose ads have another predicate than in the bundle, ascending, and its numbers."""
        before = self._before.changed
        coming = {position: number for position, number in self._retargeted.items() if number is not None}
        positions, predicates = replaced(before.retargeted, (before.predicates,), list(self._retargeted),
                                         list(coming), (list(coming.values()),))
        return positions, predicates

    def _live(self) -> PositionBitmap | None:
        """Positions of the tree that may be returned; None if all may."""
        before = self._before.changed.live
        flags = {position: one.status is Status.ACTIVE for position, one in self._withdrawn.items()}
        flags |= dict.fromkeys(self._moved, False)
        if before is None and all(flags.values()):
            return None
        live = (PositionBitmap.full(self._n_items) if before is None else before).replaced(
            np.array(list(flags), np.int64), np.array(list(flags.values()), np.bool_))
        if live.total == self._n_items:
            return None
        _ = live.ranks  # here, in the thread that makes it, and not in the first search that reads it
        return live


def status_of(change: Change | None) -> Status:
    """The status of an ad by its last change, None for one that was never changed."""
    return Status(change.fields.get(STATUS, Status.ACTIVE)) if change is not None else Status.ACTIVE

