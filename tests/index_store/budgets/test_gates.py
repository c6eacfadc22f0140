"""Gates: campaigns pass their shares of the requests, bitmaps say of each ad what its campaign says, days reopen."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.budgets.gates import BUCKETS, UNREAD_SECONDS, Gates, bucket_of
from index_store.budgets.live_budgets import LiveBudgets
from index_store.budgets.pacing import FIRST, SETTLE, TICK
from tests.index_store.budgets.spending import DAY, MIDNIGHT, NOON, UNIT, campaign, campaign_ads, spent

NAMES = [f"c{at}" for at in range(40)]
OF_TREE = [*NAMES, None, *NAMES]
ADS = campaign_ads(NAMES, OF_TREE, ["c0", None, "c1"])
AT = NOON + 30.0


def gates(*changes, ads=ADS):
    return Gates(budgets=LiveBudgets().with_changes(changes), ads=ads)


def paced(probability, ads=ADS):
    """All campaigns with this probability at AT."""
    made = gates(*(campaign(name, 100.0, at=NOON) for name in NAMES), ads=ads)
    pacing = replace(made.budgets.pacing, probability=np.full(len(NAMES), probability))
    return replace(made, budgets=replace(made.budgets, pacing=pacing))


def passing(gate, ads=ADS):
    """Positions that pass, those beyond the tree too."""
    if gate is None or gate.passing is None:
        return set(range(len(ads.of_tree) + len(ads.of_added)))
    beyond = len(ads.of_tree) + np.flatnonzero(gate.passing.beyond)
    return {*gate.passing.in_tree.positions().tolist(), *beyond.tolist()}


def held(made, user, at=AT, capped=()):
    """Position -> why it is held back, of those that are."""
    gate = made.of(user, at, capped)
    positions = range(len(OF_TREE) + 3)
    return {} if gate is None else {position: why for position in positions if (why := gate.held(position))}


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.37, 0.9])
def test_each_campaign_passes_its_share_of_the_buckets(probability):
    tick = paced(probability).tick(AT)
    passed = np.array([tick.passes(bucket) for bucket in range(BUCKETS)])
    assert np.abs(passed.sum(axis=0) - BUCKETS * probability).max() <= 1
    assert passed.mean() == pytest.approx(probability, abs=0.01)
    if 0.05 < probability < 0.5:  # campaigns take turns: no two of them, nor two buckets, are all alike
        assert len({tuple(column) for column in passed.T.tolist()}) > len(NAMES) // 2
        assert passed.sum(axis=1).max() < len(NAMES)


def test_share_below_one_bucket_comes_up_over_the_ticks():
    made = paced(0.004)
    ticks = [replace(made.tick(AT), number=NOON // TICK + at) for at in range(300)]
    found = np.mean([tick.passes(bucket) for tick in ticks for bucket in range(BUCKETS)], axis=0)
    assert found == pytest.approx(np.full(len(NAMES), 0.004), rel=0.1)


def test_buckets_are_even_and_change_with_the_tick():
    counts = np.bincount([bucket_of(f"user-{at}".encode(), 7) for at in range(6_400)], minlength=BUCKETS)
    assert counts.min() > 60
    assert len({bucket_of(b"user-1", tick) for tick in range(50)}) > 20
    assert bucket_of(b"user-1", 7) == bucket_of(b"user-1", 7)


@pytest.mark.parametrize("user", [b"u", b"v", b"w"])
def test_bitmap_says_of_each_ad_what_its_campaign_says(user):
    made = paced(0.4)
    why = held(made, user)
    assert passing(made.of(user, AT)) == set(range(len(OF_TREE) + 3)) - why.keys()
    assert {one.by for one in why.values()} == {"pacing"}
    assert {one.probability for one in why.values()} == {0.4}
    assert all(one.campaign == [*OF_TREE, "c0", None, "c1"][at] for at, one in why.items())
    assert 40 not in why  # an ad without a campaign is never held back


def test_nothing_is_held_back_when_no_campaign_has_a_budget():
    assert gates().of(b"u", AT) is None
    assert gates(campaign("c0", None)).of(b"u", AT) is None
    unlimited = gates(campaign("c0", 1.0), campaign("c0", None, at=MIDNIGHT + 60))
    assert unlimited.of(b"u", AT) is None


def test_spent_budget_closes_at_once_and_opens_when_its_day_has_settled():
    made = gates(*(campaign(name, 5.0) for name in ("c0", "c1")))
    at = NOON + 2 * 3600.0
    assert not any(one.by == "budget" for one in held(made, b"u", at).values())
    closed = made.after(made.budgets.with_changes([spent("c0", 5 * UNIT, at)]), ADS)
    for second, shut in [(at, True), (MIDNIGHT + DAY + SETTLE - 0.1, True), (MIDNIGHT + DAY + SETTLE, False)]:
        for user in (b"u", b"v"):
            why = held(closed, user, second).get(0)
            assert (why is not None and why.by == "budget") is shut
            if shut:
                assert why.until == MIDNIGHT + DAY
    standing = closed.standing("c0", at)
    assert (standing.gate, standing.until, standing.probability) == ("closed", MIDNIGHT + DAY, 0.0)
    assert closed.standing("c1", at).gate == "open"
    assert closed.standing("nobody", at).gate == "open"
    assert closed.standing("c0", MIDNIGHT + DAY + SETTLE).gate == "paced"


def test_capped_campaigns_are_held_back_from_their_user_alone():
    made = gates()
    why = held(made, b"u", capped=["c3", "nobody"])
    assert {at: one.by for at, one in why.items()} == {3: "frequency_cap", 44: "frequency_cap"}
    assert passing(made.of(b"u", AT, ["c3"])) == set(range(len(OF_TREE) + 3)) - {3, 44}
    both = paced(0.4)
    assert passing(both.of(b"u", AT, ["c3"])) == passing(both.of(b"u", AT)) - {3, 44}


def test_probability_of_a_tick_is_that_of_the_tick_before_until_it_has_settled():
    made = gates(*(campaign(name, 5.0, at=NOON) for name in NAMES))
    early, late = made.standing("c0", NOON + TICK + SETTLE - 0.1), made.standing("c0", NOON + TICK + SETTLE)
    assert early.probability == FIRST
    assert late.probability > FIRST
    ahead = made.after(made.budgets.with_changes([spent("c1", 1, NOON + TICK + 0.5)]), ADS)  # the log is in that tick
    assert ahead.standing("c0", NOON + TICK + 1).probability == FIRST


def test_gates_of_later_are_those_of_before_unless_one_closes_or_ads_change():
    made = gates(*(campaign(name, 5.0) for name in NAMES))
    tick = made.tick(AT)
    assert made.after(made.budgets, ADS) is made
    spending = made.after(made.budgets.with_changes([spent("c0", 1, AT)]), ADS)
    assert spending.tick(AT) is tick
    closing = spending.after(spending.budgets.with_changes([spent("c0", 5 * UNIT, AT)]), ADS)
    assert closing.tick(AT) is not tick
    assert closing.after(closing.budgets, ADS.changed({}, ADS.of_added[:1])).tick(AT).ads is not ADS


def test_log_that_cannot_be_read_closes_budgets_after_a_while_or_leaves_them_as_they_were():
    made = gates(campaign("c0", 5.0, at=NOON), campaign("c1", None, at=NOON))
    since = NOON + 300.0
    for closed in (True, False):
        unread = made.without_log(since, closed)
        soon, later = since + UNREAD_SECONDS - 1, since + 1_000
        assert unread.standing("c0", later).gate == ("closed" if closed else "paced")
        assert unread.standing("c0", soon).gate == "paced"
        assert unread.standing("c1", later).gate == "open"
        if closed:
            assert held(unread, b"u", later)[0].by == "no_change_log"
        else:
            assert unread.standing("c0", later).probability == made.standing("c0", since).probability
        again = unread.without_log(None, closed)
        assert again.standing("c0", later) == made.standing("c0", later)


def test_idle_ticks_are_ended_from_where_the_last_request_left_them():
    made = gates(*(campaign(name, 5.0) for name in NAMES), spent("c0", UNIT, NOON))
    found = [made.tick(NOON + SETTLE + second).probability.tolist() for second in range(0, 3_600, TICK)]
    fresh = replace(made, _ticks={})
    assert fresh.tick(NOON + SETTLE + 3_600 - TICK).probability.tolist() == found[-1]
