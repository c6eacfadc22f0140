"""Charging: what an event of a user costs the campaign of its ad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from index_store.budgets.campaign import NANOS
from index_store.changes.change_log import Change, Write
from index_store.changes.records import CAMPAIGN, SPENT
from index_store.declaration.spec import BidType
from index_store.declaration.values import FeatureError
from index_store.live.snapshot import Snapshot
from index_store.live.user_history import AD_ID, PRICE, TYPE, EventType
from index_store.live.users import FEATURES
from index_store.value.bids import BID, Bid, parse_bid

PAYS: Mapping[BidType, EventType] = {"CPM": EventType.IMPRESSION, "CPC": EventType.CLICK, "CPA": EventType.CONVERSION}
"""The events that each type of bid pays for."""


def charged(events: Sequence[Write], snapshot: Snapshot, states: Mapping[str, Change]) -> list[Write]:
    """The events with their campaigns, and with what they spend.

    It is written along with them, so that all replicas charge the same, whatever bundles they serve and however bids
    move meanwhile. An event costs its own price, or what the ad bids if that pays for such an event: a thousandth of a
    CPM bid, or a whole CPC or CPA bid.

    Args:
        events: of ads.
        snapshot: has their campaigns and bids.
        states: last changes of ads that the snapshot does not have yet.
    """
    if snapshot.gates is None:
        return list(events)
    ads = {ad_id: _ad(ad_id, snapshot, states) for ad_id in {event.fields[AD_ID] for event in events}}
    return [replace(event, noted=_noted(event, *ads[event.fields[AD_ID]])) for event in events]


def _noted(event: Write, campaign: str | None, bid: Bid | None) -> dict[str, str | int]:
    if campaign is None:
        return {}
    nanos, fields = 0, event.fields
    if PRICE in fields:
        nanos = fields[PRICE] * NANOS
    elif bid is not None and PAYS[bid.type] == fields[TYPE]:
        nanos = bid.micros if bid.type == "CPM" else bid.micros * NANOS  # a thousandth of it, in whole nanos
    return {CAMPAIGN: campaign, SPENT: nanos} if nanos else {CAMPAIGN: campaign}


def _ad(ad_id: str, snapshot: Snapshot, states: Mapping[str, Change]) -> tuple[str | None, Bid | None]:
    """Campaign and bid of an ad."""
    row = snapshot.row(ad_id.encode())
    if row is not None:
        return snapshot.campaign(row), snapshot.bid(row)
    fields = states[ad_id].fields if ad_id in states else {}
    gates = snapshot.gates
    assert gates is not None
    try:
        number = gates.ads.number_of(fields.get(FEATURES, {}))
        bid = None if fields.get(BID) is None else parse_bid(fields[BID], snapshot.encoder.spec.paid)
    except FeatureError:  # it does not fit this bundle
        return None, None
    return gates.ads.numbers.name(number) or None, bid
