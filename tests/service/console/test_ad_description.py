"""What an ad is, for one of the bundle, one that a change retargeted, and one that a change added."""

from index_store.changes.change_log import Change, Kind
from index_store.live.withdrawals import Status
from index_store.targeting.predicates import parse_predicate
from service.console.ad_description import described, status_of
from service.contract.console_schemas import AdDescription
from tests.targeted_bundle import PREDICATES, raw_ads

FEATURES = {"price": 1.5, "category": "c3", "brand": None, "tags": ["tag-1", "never-seen"]}


def change(sequence, ad_id, **fields):
    return Change(sequence=sequence, at=0.0, kind=Kind.AD, id=ad_id, fields=fields)


def of(retriever, snapshot, ad_id):
    found = described(retriever, snapshot, snapshot.row(ad_id.encode()))
    AdDescription.model_validate({**found, "bid": found["bid"] and found["bid"].to_json()}, strict=True)
    return found


def test_ad_of_the_bundle_is_described_by_its_stored_values(retriever):
    raw = raw_ads(retriever.bundle.content)["ad-0003"]
    found = of(retriever, retriever.sealed, "ad-0003")
    assert found["ad_id"] == "ad-0003"
    assert {name: found["features"][name] for name in ("category", "brand", "tags")} == {
        name: raw[name] for name in ("category", "brand", "tags")}
    assert abs(found["features"]["price"] - raw["price"]) < 1e-4
    kinds = retriever.bundle.content.encoder.spec.audience_kinds
    assert parse_predicate(found["targeting"], kinds) == parse_predicate(PREDICATES[2], kinds)
    assert of(retriever, retriever.sealed, "ad-0000")["targeting"] is None


def test_changed_and_added_ads_are_described_as_of_the_last_change(retriever):
    own = {"field": "age", "at_least": 18.0}
    after = retriever.sealed.with_changes([
        change(1, "ad-0003", targeting=own, status="paused"), change(2, "ad-0001", targeting=None),
        change(3, "new", features=FEATURES, targeting=own, status="active", bid={"micros": 7, "type": "CPC"})])
    assert of(retriever, after, "ad-0003")["targeting"] == own
    assert of(retriever, after, "ad-0001")["targeting"] is None
    new = of(retriever, after, "new")
    assert new["features"] == {"price": 1.5, "category": "c3", "brand": None, "tags": ["tag-1"]}
    assert (new["targeting"], new["bid"].micros) == (own, 7)
    assert [status_of(after, after.row(ad)) for ad in (b"ad-0003", b"new")] == [Status.PAUSED, Status.ACTIVE]
