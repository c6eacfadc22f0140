"""Changes of ads: statuses, and changes that do not fit the bundle."""

import pytest

from index_store.live.ad_changes import status_of
from index_store.live.withdrawals import Status, Withdrawal
from tests.index_store.live.changed import changes
from tests.index_store.live.test_snapshot import sealed


def test_status_is_active_when_an_ad_was_never_changed_or_the_change_does_not_name_one():
    (change,) = changes(("ad-03", "paused"))
    assert [status_of(one) for one in (None, change)] == ["active", "paused"]
    with pytest.raises(ValueError, match="'expired' is not a valid Status"):
        status_of(changes(("ad-03", "expired"))[0])


def test_ad_is_not_returned_and_the_reason_is_kept_when_its_change_does_not_fit_the_bundle():
    snapshot = sealed().with_changes(changes(
        ("ad-03", {"features": {"price": 1.0, "colour": "red"}}), ("new", {"features": {"price": "free"}}),
        ("ad-04", {"targeting": {"field": "planet", "in": ["mars"]}})))
    assert set(snapshot.unfit) == {"ad-03", "new", "ad-04"}
    assert "'brand' is missing" in snapshot.unfit["ad-03"]
    assert "planet" in snapshot.unfit["ad-04"]
    assert snapshot.row(b"new") is None
    assert snapshot.withdrawal(3) == Withdrawal(Status.UNFIT, 1)
    mended = snapshot.with_changes(changes(("ad-03", {"status": "active"}), after=3))
    assert set(mended.unfit) == {"new", "ad-04"}
    assert mended.withdrawal(3) is None
