"""Live budgets: planted spending, and that whoever reads the same log decides alike, however it is read."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.budgets.ledger import KEPT_SECONDS
from index_store.budgets.live_budgets import LiveBudgets
from index_store.changes.change_log import Change, Kind
from tests.index_store.budgets.spending import DAY, MIDNIGHT, NOON, UNIT, campaign, late, numbered, spent

ZONES = ["UTC", "Asia/Kathmandu", "America/St_Johns"]
ARRAYS = ("budget", "begin", "end", "spent", "probability", "before", "paid", "offered", "in_tick")


def same(one, other, at):
    """Whether two states are one from a time on."""
    one, other = (state.pacing.advanced(at // 60, state.ledger) for state in (one, other))
    order = [other.names.index(name) for name in one.names]
    return all(np.array_equal(getattr(one, name), getattr(other, name)[order]) for name in ARRAYS)


def random_log(seed, days=0.1, campaigns=4, events=300):
    """Budgets, some of which change, and events that spend them."""
    random = np.random.default_rng(seed)
    changes = [campaign(f"c{at}", random.uniform(1, 5), at=MIDNIGHT + at, time_zone=ZONES[at % 3])
               for at in range(campaigns)]
    changes += [campaign(f"c{random.integers(campaigns)}", random.uniform(1, 5), at=MIDNIGHT + days * DAY * share)
                for share in random.random(2)]
    changes += [spent(f"c{random.integers(campaigns)}", int(random.integers(0, UNIT // 20)),
                      MIDNIGHT + days * DAY * share) for share in random.random(events)]
    return numbered(changes)


@given(st.integers(0, 50), st.lists(st.integers(1, 300), max_size=6))
@settings(max_examples=10, deadline=None)
def test_replicas_that_read_a_log_in_other_portions_have_the_same_state(seed, cuts):
    log = random_log(seed)
    at_once, in_parts = LiveBudgets().with_changes(log), LiveBudgets()
    bounds = [0, *sorted(cuts), len(log)]
    for first, end in itertools.pairwise(bounds):
        in_parts = in_parts.with_changes(log[first:end])
    assert at_once.ledger.spent == in_parts.ledger.spent
    assert at_once.ledger.events == in_parts.ledger.events
    assert same(at_once, in_parts, MIDNIGHT + DAY // 8)


def test_replica_that_begins_two_days_before_has_the_state_of_one_that_read_all():
    log = random_log(7, days=3, events=600)
    now = log[-1].at + 1
    begin = now - KEPT_SECONDS
    declared = {change.id: change for change in log if change.kind is Kind.CAMPAIGN and change.at < begin}
    late = LiveBudgets().with_changes(declared.values()).with_changes(
        change for change in log if change.at >= begin)
    early = LiveBudgets().with_changes(log)
    assert same(early, late, int(now))
    for name in declared:
        assert early.spent_today(name, now) == late.spent_today(name, now) > 0


def test_spending_is_exact_and_counts_only_where_it_belongs():
    log = [campaign("a", 1.0), spent("a", 3, NOON), spent("a", 4, NOON + 1), spent("b", 5, NOON),
           late("a", 9, NOON, MIDNIGHT - 1),
           Change(sequence=0, at=NOON, kind=Kind.EVENT, id="u", fields={"ad_id": "x", "type": "click"}),
           Change(sequence=0, at=NOON, kind=Kind.ERASED, id="", fields={"campaign": "a", "spent_nanos": 10}),
           Change(sequence=0, at=NOON, kind=Kind.ERASED, id="", fields={}),
           Change(sequence=0, at=NOON, kind=Kind.AD, id="a", fields={"campaign": "a", "spent_nanos": 10})]
    budgets = LiveBudgets().with_changes(log)
    assert [budgets.spent_today(name, NOON) for name in ("a", "b", "c")] == [17, 5, 0]
    assert budgets.spent_today("a", MIDNIGHT - 1) == 9
    assert budgets.with_changes(log[5:6]) is budgets


def test_currency_is_that_of_the_first_campaign():
    assert LiveBudgets().currency is None
    assert LiveBudgets().with_changes([campaign("a", 1.0)]).currency == ("EUR", "a")
