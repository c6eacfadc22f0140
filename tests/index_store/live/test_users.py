"""Live users: what each change does, and that nothing changes under a reader."""

import numpy as np
import pytest

from index_store.changes.change_log import Change, Kind
from index_store.live.user_history import NO_EVENTS, events_in
from index_store.live.users import AdNumbers, LiveUsers
from tests.index_store.budgets.spending import campaign
from tests.index_store.worlds import catalogue

ENCODER = catalogue(0, 30)[0]
NONE = LiveUsers.none(ENCODER)


def after(users, *said, first=1):
    """The users after changes, each of a kind, an id and fields; change n is of time n."""
    return users.with_changes([Change(sequence=number, at=float(number), kind=kind, id=subject, fields=fields)
                               for number, (kind, subject, fields) in enumerate(said, start=first)])


def click(user, ad="ad-01", **more):
    return Kind.EVENT, user, {"ad_id": ad, "type": "click", **more}


def put(user, **features):
    return Kind.USER, user, {"features": features}


def clicked(users, user_id):
    """The ads that a user clicked, by their names, known to the bundle or not."""
    seen = []

    def look_up(ad_ids):
        seen.extend(ad_ids.tolist())
        return np.zeros(len(ad_ids), np.int64)

    users.of(user_id).rows(np.empty(0, np.int32), look_up)
    return seen


def test_changes_are_applied_in_order_and_a_reader_of_the_users_before_sees_none():
    one = after(NONE, click("u"), put("u", age=3), click("v"), (Kind.AD, "u", {"status": "paused"}))
    two = after(one, click("u", "ad-02"), put("u", country="a"), (Kind.FORGOTTEN, "v", {}), click("w", "new"), first=5)
    assert (NONE.of(b"u").features, NONE.of(b"u").history, NONE.of(b"u").forgotten) == (None, NO_EVENTS, False)
    assert (one.of(b"u").features, clicked(one, b"u")) == ({"age": 3}, [b"ad-01"])
    assert (two.of(b"u").features, clicked(two, b"u"), clicked(two, b"w")) == (
        {"country": "a"}, [b"ad-02", b"ad-01"], [b"new"])
    assert (two.of(b"v").history, two.of(b"v").forgotten, one.of(b"v").forgotten) == (NO_EVENTS, True, False)
    assert (NONE.histories.count, one.histories.count, two.histories.count) == (0, 2, 2)


def test_changes_of_one_batch_build_on_each_other():
    users = after(NONE, click("u"), put("u", age=3), (Kind.FORGOTTEN, "u", {}), click("u", "ad-02"),
                  click("u", "ad-03"))
    assert (clicked(users, b"u"), users.of(b"u").features, users.of(b"u").forgotten) == (
        [b"ad-03", b"ad-02"], None, True)


def test_users_stay_the_same_object_when_nothing_is_said_about_users():
    assert after(NONE, (Kind.AD, "a", {}), (Kind.ERASED, "", {}),
                 (Kind.EVENT, "u", {"ad_id": "ad-01", "type": "impression"})) is NONE


def test_time_of_a_click_is_its_own_or_that_of_its_entry():
    users = after(NONE, click("u", "ad-01"), click("u", "ad-02", at=0.5), click("u", "ad-03"))
    assert clicked(users, b"u") == [b"ad-03", b"ad-01", b"ad-02"]


@pytest.mark.parametrize(("features", "kept"), [
    ({"age": 3, "city": "x"}, {"age": 3}), ({"age": "x", "country": "a"}, {"country": "a"}),
    ({"age": None, "interests": ["a"]}, {"age": None, "interests": ["a"]})])
def test_features_that_this_bundle_does_not_declare_are_left_out(features, kept):
    assert after(NONE, put("u", **features)).of(b"u").features == kept


def test_users_who_were_active_least_recently_lose_their_events_and_nothing_else():
    users = after(LiveUsers.none(ENCODER, most_histories=1), put("u0", age=3),  # one in each shard
                  *(click(f"u{number}") for number in range(9_000)))
    assert 3_000 < users.histories.count <= 4_096
    assert users.of(b"u0").features == {"age": 3}
    assert events_in(after(users, click("u0")).of(b"u0").history) >= 1


def test_history_has_at_most_the_clicks_that_the_user_tower_reads():
    users = after(NONE, *(click("u", f"ad-{number:02d}") for number in range(ENCODER.spec.history_length + 5)))
    assert events_in(users.of(b"u").history) == ENCODER.spec.history_length
    assert clicked(users, b"u")[0] == b"ad-54"


def test_numbers_of_ads_are_given_once():
    numbers = AdNumbers()
    assert [numbers.number(ad) for ad in (b"a", b"b", b"a")] == [0, 1, 0]
    assert numbers.ids(np.array([1, 0, 1], np.int32)).tolist() == [b"b", b"a", b"b"]


def seen(user, name="c", **more):
    return Kind.EVENT, user, {"ad_id": "ad-01", "type": "impression", "campaign": name, **more}


def capped(name="c", hours=1, impressions=2):
    return Kind.CAMPAIGN, name, campaign(name, None, cap={"impressions": impressions, "hours": hours}).fields


def test_impressions_of_capped_campaigns_count_from_the_cap_on_for_their_user_until_the_hours_have_passed():
    users = after(NONE, seen("u"), capped(), seen("u"), seen("v"), seen("u", "other"), seen("u", None), click("u"))
    assert users.of(b"u").capped(10.0) == []
    more = after(users, seen("u", at=5.0), first=8)
    assert [more.of(user).capped(10.0) for user in (b"u", b"v", b"w")] == [["c"], [], []]
    assert users.of(b"u").capped(10.0) == []
    assert more.of(b"u").capped(5.0 + 3600) == []
    assert after(more, capped(impressions=3), first=9).of(b"u").capped(10.0) == []
    lifted = after(more, (Kind.CAMPAIGN, "c", campaign("c", 1.0).fields), first=9)
    assert lifted.of(b"u").capped(10.0) == []
    assert after(more, (Kind.FORGOTTEN, "u", {}), first=9).of(b"u").capped(10.0) == []
