"""Changes of ads: what the last ones of a batch make of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as copied
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign_ads import NO_CAMPAIGN
from index_store.budgets.gates import Gates
from index_store.changes.change_log import Change
from index_store.declaration.values import FeatureError
from index_store.features.encoder import Features
from index_store.features.vocabulary import look_up
from index_store.live.added_ads import AddedAds, Said
from index_store.live.arrivals import equal
from index_store.live.by_position import replaced
from index_store.live.users import FEATURES, LiveUsers
from index_store.live.withdrawals import Status, Withdrawal
from index_store.targeting.changed_ads import ChangedAds
from index_store.targeting.eligibility import PositionBitmap
from index_store.targeting.predicates import Predicate, PredicateError, parse_predicate
from index_store.targeting.targeting import NO_PREDICATE
from index_store.value.bids import BID, Bid, parse_bid

if TYPE_CHECKING:
    from index_store.live.snapshot import Snapshot

STATUS, TARGETING = "status", "targeting"
"""Fields of a change of an ad besides FEATURES and BID: its status, and its predicate, null for none. An ad without
features, predicate or bid of its own has those of the bundle."""


@dataclass(frozen=True)
class _Given:
    """What a change gives of an ad; None for what it leaves to the bundle, and for what the ad has none of."""

    predicate: Predicate | None = None
    features: Features | None = None
    bid: Bid | None = None


class AdChanges:
    """Applies the last changes of some ads to a snapshot.

    Args:
        before: the snapshot.
        last: ad -> its last change.
    """

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
