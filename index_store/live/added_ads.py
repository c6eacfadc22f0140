"""Added ads: the ads of one moment that a bundle lacks, or whose features have changed since it was sealed.

An ad whose features change again gets another row, and its former one counts no longer. Rows are only added, so the
snapshots of all moments share them; each has small arrays of its own for what changes without new features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign_ads import NO_CAMPAIGN
from index_store.declaration.spec import ITEM_ID
from index_store.features.encoder import UNKNOWN, FeatureEncoder
from index_store.features.history import History
from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import all_item_keys
from index_store.features.vocabulary import look_up
from index_store.live.encoded_ads import EncodedAds, GrowingAds
from index_store.live.withdrawals import Status, Withdrawal, status_at, status_number
from index_store.search.scoring import AddedItems
from index_store.targeting.changed_ads import AddedTargets
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree
from index_store.value.bids import AdBids, Bid
from index_store.value.live_bids import AddedBids


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a change says about an ad besides its features.

    Attributes:
        status: of the ad.
        version: of the change.
        predicate: number of its predicate.
        bid: None for none.
        campaign: its number.
    """

    status: Status
    version: int
    predicate: int
    bid: Bid | None = None
    campaign: int = NO_CAMPAIGN


class _Rows:
    """The rows of all snapshots: encoded ads and their ids."""

    def __init__(self, ad_ids: Sequence[bytes], ads: EncodedAds) -> None:
        self.ids: list[bytes] = []
        self.of_id: dict[bytes, list[int]] = {}
        self.ads = GrowingAds(ads)
        self._name(ad_ids)

    def append(self, ad_ids: Sequence[bytes], ads: EncodedAds) -> None:
        self.ads.append(ads)
        self._name(ad_ids)

    def _name(self, ad_ids: Sequence[bytes]) -> None:
        for ad_id in ad_ids:
            self.of_id.setdefault(ad_id, []).append(len(self.ids))
            self.ids.append(ad_id)


@dataclass(frozen=True, eq=False, kw_only=True)
class AddedAds:
    """The J rows of one moment.

    Attributes:
        placed: where they are in the tree.
        ads: encoded, one row each.
        current: (J,) bool, the newest row of its ad.
        statuses: (J,) uint8 numbers.
        versions: (J,) int64.
        predicates: (J,) int32 numbers of the predicates.
        bids: of each.
        campaigns: (J,) int32 numbers of the campaigns.
    """

    placed: PlacedItems
    ads: EncodedAds
    current: NDArray[np.bool_]
    statuses: NDArray[np.uint8]
    versions: NDArray[np.int64]
    predicates: NDArray[np.int32]
    bids: AdBids
    campaigns: NDArray[np.int32]
    _rows: _Rows = field(repr=False)

    @classmethod
    def first(cls, tree: Tree, ad_ids: Sequence[bytes], ads: EncodedAds, said: Sequence[Said]) -> Self:
        """The first rows (J,) of distinct ads."""
        none = cls(placed=PlacedItems(tree, ads.leaves), ads=ads, current=np.empty(0, np.bool_),
                   statuses=np.empty(0, np.uint8), versions=np.empty(0, np.int64), predicates=np.empty(0, np.int32),
                   bids=AdBids.none(0), campaigns=np.empty(0, np.int32), _rows=_Rows(ad_ids, ads))
        return none._with_rows(said)

    def __len__(self) -> int:
        return len(self.current)

    def extended(self, ad_ids: Sequence[bytes], ads: EncodedAds, said: Sequence[Said]) -> Self:
        """With new rows (N,) of distinct ads; an ad's former row counts no longer."""
        if not ad_ids:
            return self
        rows = self._rows
        if len(rows.ids) > len(self):  # another snapshot that follows this one has rows of its own there
            rows = _Rows(rows.ids[:len(self)], self.ads)
        former = [row for ad_id in ad_ids if (row := self.row(ad_id)) is not None]
        rows.append(ad_ids, ads)
        current = self.current.copy()
        current[former] = False
        all_ads = rows.ads.head(len(rows.ids))
        return replace(self, _rows=rows, current=current, ads=all_ads,
                       placed=self.placed.extended(all_ads.leaves))._with_rows(said)

    def changed(self, rows: Mapping[int, Said]) -> Self:
        """With something else said about some rows."""
        if not rows:
            return self
        statuses, versions, predicates = self.statuses.copy(), self.versions.copy(), self.predicates.copy()
        campaigns = self.campaigns.copy()
        for row, said in rows.items():
            statuses[row], versions[row], predicates[row] = status_number(said.status), said.version, said.predicate
            campaigns[row] = said.campaign
        return replace(self, statuses=statuses, versions=versions, predicates=predicates, campaigns=campaigns,
                       bids=self.bids.replaced({row: said.bid for row, said in rows.items()}))

    def row(self, ad_id: bytes) -> int | None:
        """The newest row of an ad; None if it was not added."""
        return next((row for row in reversed(self._rows.of_id.get(ad_id, ())) if row < len(self)), None)

    def rows_of(self, ad_ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """The newest rows of ads (N,), -1 for one that was not added."""
        rows = [self.row(ad_id) for ad_id in ad_ids.tolist()]
        return np.array([-1 if row is None else row for row in rows], np.int64)

    def ad_id(self, row: int) -> bytes:
        """The id of a row's ad."""
        return self._rows.ids[row]

    def history(self, rows: NDArray[np.integer], encoder: FeatureEncoder, fields: Mapping[str, Ragged]) -> History:
        """A history with clicks on these ads.

        Args:
            rows: (M,) rows of ads, from the number of the tree's items on for one beyond it, most recent first.
            encoder: of the bundle.
            fields: item field -> ids of the bundle's ads, by item row.
        """
        n_items = self.placed.tree.n_items
        beyond = rows >= n_items
        added = rows[beyond] - n_items
        known = look_up(encoder.item_ids, np.array([self.ad_id(row) for row in added.tolist()], np.bytes_))
        of_added = all_item_keys(encoder.spec, self.ads.features.take(added))
        of_added[ITEM_ID] = Ragged.singles(np.where(known < 0, UNKNOWN, known + 1))
        order = np.argsort(np.argsort(beyond, kind="stable"), kind="stable")
        joined = {name: Ragged.concatenated([of_items.take(rows[~beyond]), of_added[name]]).take(order)
                  for name, of_items in fields.items()}
        of_bundle = rows.astype(np.int32)
        of_bundle[beyond] = known
        return History(Ragged.one_row(np.arange(len(rows), dtype=np.int32)), joined, of_bundle[of_bundle >= 0])

    def withdrawal(self, row: int) -> Withdrawal | None:
        """Why the ad of a row is not returned; None if it is active."""
        status = status_at(int(self.statuses[row]))
        return None if status is Status.ACTIVE else Withdrawal(status, int(self.versions[row]))

    @property
    def live(self) -> NDArray[np.bool_]:
        """(J,) bool, rows that may be returned."""
        live: NDArray[np.bool_] = self.current & (self.statuses == status_number(Status.ACTIVE))
        return live

    def scored(self) -> AddedItems:
        """The rows as the scorer reads them."""
        return AddedItems(self.placed, self.ads.embeddings, self.ads.keys, self.ads.spectral)

    def targeted(self) -> AddedTargets:
        """The rows as targeting reads them."""
        return AddedTargets(placed=self.placed, live=self.live, predicates=self.predicates, features=self.ads.features,
                           rows_of=self.rows_of)

    def bidding(self) -> AddedBids:
        """The rows as a valuation reads them."""
        return AddedBids(placed=self.placed, bids=self.bids, live=self.live)

    def _with_rows(self, said: Sequence[Said]) -> Self:
        """With what is said about the rows that follow."""
        return replace(
            self, current=np.append(self.current, np.ones(len(said), np.bool_)),
            statuses=np.append(self.statuses, np.array([status_number(one.status) for one in said], np.uint8)),
            versions=np.append(self.versions, np.array([one.version for one in said], np.int64)),
            predicates=np.append(self.predicates, np.array([one.predicate for one in said], np.int32)),
            campaigns=np.append(self.campaigns, np.array([one.campaign for one in said], np.int32)),
            bids=self.bids.extended([one.bid for one in said]))
