"""What is checked before an ad is written; the refusals over HTTP are in http/test_ads.py."""

import pytest

from index_store.changes.change_log import Kind, Write
from service.contract.errors import ServiceError
from service.live.ad_check import check
from tests.index_store.live.arrived import PlantedWorld

FEATURES = {"price": 1.0, "category": "c1", "brand": None, "tags": ["tag-1"]}


@pytest.fixture(scope="module")
def snapshot():
    return PlantedWorld().sealed


@pytest.mark.parametrize(("features", "unseen"), [
    ({}, []), ({"category": "c99"}, ["category"]), ({"category": None}, []), ({"tags": None}, []),
    ({"brand": "mine", "tags": ["tag-1", "tag-99"]}, ["brand", "tags"])])
def test_features_that_the_bundle_has_never_seen_are_named(snapshot, features, unseen):
    assert check(Write(kind=Kind.AD, id="new", fields={"features": FEATURES | features}), snapshot) == unseen


@pytest.mark.parametrize(("fields", "error_type", "said"), [
    ({"features": {"price": 1.0}}, "invalid_feature", "'category' is missing"),
    ({"features": FEATURES | {"price": "1"}}, "invalid_feature", "price is '1'"),
    ({"features": FEATURES | {"size": 1}}, "unknown_feature", "'size' is unknown"),
    ({"targeting": {"any": [{"field": "age", "in": [1]}]}}, "invalid_targeting", "targeting.any[0]")])
def test_write_is_refused_when_it_does_not_fit_the_bundle(snapshot, fields, error_type, said):
    with pytest.raises(ServiceError) as caught:
        check(Write(kind=Kind.AD, id="new", fields=fields), snapshot)
    assert caught.value.error_type == error_type
    assert said in caught.value.message


def test_nothing_is_checked_when_only_the_status_changes(snapshot):
    assert check(Write(kind=Kind.AD, id="new", fields={"status": "paused", "targeting": None}), snapshot) == []
