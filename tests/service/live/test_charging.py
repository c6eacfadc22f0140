"""Charging: what events cost, by their own prices or the bids of their ads, and to whom."""

import pytest

from index_store.changes.change_log import Change, Kind, Write
from index_store.live.snapshot import Snapshot
from index_store.targeting.targeting import Targeting
from index_store.value.bids import AdBids, Bid
from service.live.charging import charged
from tests.index_store.budgets.spending import campaign_world
from tests.index_store.live.changed import PlainArrivals
from tests.index_store.worlds import catalogue

ENCODER, RAW, FEATURES, TREE = campaign_world()
OWNED = next(row for row in range(30) if RAW[row]["brand"] is not None)
FREE = next(row for row in range(30) if RAW[row]["brand"] is None)
CAMPAIGN = str(RAW[OWNED]["brand"])


def world(bid=None, encoder=ENCODER):
    bids = AdBids.of([bid if row in (OWNED, FREE) else None for row in TREE.rows.tolist()])
    return Snapshot.sealed(encoder, TREE, Targeting(encoder, FEATURES, TREE, None),
                           PlainArrivals(encoder, FEATURES, TREE), bids=bids, items=FEATURES)


def noted(snapshot, row=OWNED, states=None, ad_id=None, **fields):
    """What is noted of an event."""
    event = Write(kind=Kind.EVENT, id="u", fields={"ad_id": ad_id or f"ad-{row:02d}", "type": "click", **fields})
    (made,) = charged([event], snapshot, states or {})
    assert made.fields == event.fields
    return made.noted


@pytest.mark.parametrize(("kind", "pays", "nanos"), [
    ("CPM", "impression", 2_500_001), ("CPC", "click", 2_500_001_000), ("CPA", "conversion", 2_500_001_000)])
def test_event_costs_the_bid_that_pays_for_it_and_others_nothing(kind, pays, nanos):
    snapshot = world(Bid(2_500_001, kind))
    for event in ("impression", "click", "conversion"):
        assert noted(snapshot, type=event) == {"campaign": CAMPAIGN} | ({"spent_nanos": nanos} if event == pays else {})
        assert noted(snapshot, type=event, price_micros=7) == {"campaign": CAMPAIGN, "spent_nanos": 7_000}
        assert noted(snapshot, type=event, price_micros=0) == {"campaign": CAMPAIGN}
        assert noted(snapshot, row=FREE, type=event, price_micros=7) == {}


def test_nothing_is_noted_without_campaigns():
    encoder, _, _, _ = catalogue(0, 30)
    assert noted(world(Bid(5, "CPC"), encoder), price_micros=7) == {}


def test_ad_that_the_snapshot_does_not_have_yet_is_charged_by_its_state():
    def state(**fields):
        return {"new": Change(sequence=1, at=0.0, kind=Kind.AD, id="new", fields=fields)}

    snapshot, features = world(), {**RAW[FREE], "brand": "brand new"}
    bid = {"micros": 9, "type": "CPM"}
    assert noted(snapshot, ad_id="new", states=state(features=features, bid=bid), type="impression") == {
        "campaign": "brand new", "spent_nanos": 9}
    assert noted(snapshot, ad_id="new", states=state(features=RAW[FREE], bid=bid), type="impression") == {}
    assert noted(snapshot, ad_id="new", states=state(status="paused"), price_micros=3) == {}
    assert noted(snapshot, ad_id="new", states=state(features={"brand": [1]}), price_micros=3) == {}
    assert noted(snapshot, ad_id="gone", price_micros=3) == {}
