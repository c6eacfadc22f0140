"""Pacing: where probabilities settle, that they follow from the log alone, and that days begin anew."""

import numpy as np
import pytest

from index_store.budgets.ledger import DAY as QUARTERS
from index_store.budgets.ledger import QUARTER, Ledger, LedgerWriter
from index_store.budgets.live_budgets import LiveBudgets
from index_store.budgets.pacing import (
    FIRST,
    FIRST_RESERVE,
    HASTE,
    LEAST,
    RESERVE,
    STEP,
    TICK,
    Pacing,
    PacingWriter,
    usual_traffic,
)
from tests.index_store.budgets.spending import DAY, MIDNIGHT, NOON, UNIT, campaign, late, numbered, spent


def replayed(demand, budget, until=DAY, zone="UTC", begin=MIDNIGHT):
    """A day of a campaign that spends `demand` units if it passes everywhere, evenly, in parts of a thousandth.

    Returns:
        The budgets at the end, and of each tick the probability and what was spent until then.
    """
    budgets = LiveBudgets().with_changes([campaign("a", budget, at=begin, time_zone=zone)])
    owed, history = 0.0, []
    for second in range(0, until, TICK):
        at = begin + second
        pacing = budgets.pacing.advanced(at // TICK, budgets.ledger)
        probability = 0.0 if pacing.closed[0] else float(pacing.probability[0])
        owed += 1000 * TICK / DAY * probability
        events = [spent("a", round(demand * UNIT / 1000), at + 30) for _ in range(int(owed))]
        owed -= len(events)
        budgets = budgets.with_changes(events)
        history.append((probability, budgets.spent_today("a", at) / UNIT))
    return budgets, history


def by_then(ahead, reserve):
    """Share of a budget that is spent when this share of the traffic is still to come.

    It solves R' = R / ((1 - HASTE) m - reserve), R being what is left and m what is to come.
    """
    return 1 - (((1 - HASTE) * ahead - reserve) / (1 - HASTE - reserve)) ** (1 / (1 - HASTE))


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_budget_lasts_for_the_day(share):
    _, history = replayed(10.0, 10.0 * share)
    assert history[-1][1] == pytest.approx(10 * share, rel=0.02)
    for ahead in (0.75, 0.5):
        assert history[round(len(history) * (1 - ahead))][1] == pytest.approx(
            10 * share * by_then(ahead, FIRST_RESERVE / QUARTERS), rel=0.05)


def test_campaign_passes_everywhere_when_its_budget_is_more_than_it_can_spend():
    _, history = replayed(10.0, 25.0, until=DAY // 4)
    assert history[0][0] == FIRST
    assert history[10][0] == 1.0
    assert history[-1][1] > 2.4


def test_probability_moves_by_bounded_factors():
    _, history = replayed(10.0, 1.0, until=DAY // 8)
    probabilities = np.array([probability for probability, _ in history])
    moved = probabilities[1:] / np.maximum(probabilities[:-1], LEAST)
    assert moved[probabilities[1:] > 0].max() <= STEP + 1e-9
    assert probabilities.max() <= 1.0


def test_gate_closes_at_the_budget_and_opens_at_local_midnight():
    midnight = MIDNIGHT + 23 * 3600  # of the next day in Berlin
    budgets = LiveBudgets().with_changes(numbered([
        campaign("a", 1.0, time_zone="Europe/Berlin"), spent("a", UNIT - 1, NOON)]))
    assert not budgets.pacing.closed.any()
    budgets = budgets.with_changes([spent("a", 1, NOON + 1)])
    for second, closed in [(NOON + 1, True), (midnight - 1, True), (midnight, False), (midnight + DAY - 1, False)]:
        assert budgets.pacing.advanced(second // TICK, budgets.ledger).closed.tolist() == [closed]
    assert budgets.spent_today("a", midnight - 1) == UNIT
    assert budgets.spent_today("a", midnight) == 0


def test_early_event_of_the_next_day_is_spent_when_that_begins_and_a_late_one_of_the_day_before_is_not():
    budgets = LiveBudgets().with_changes([
        campaign("a", 1.0), late("a", UNIT, NOON, MIDNIGHT + DAY + 5), late("a", UNIT, NOON, MIDNIGHT - 5)])
    assert not budgets.pacing.closed.any()
    assert budgets.pacing.advanced((MIDNIGHT + DAY) // TICK, budgets.ledger).closed.all()


def test_budget_that_is_declared_below_what_was_spent_is_closed_at_once_and_open_when_it_is_raised():
    before = LiveBudgets().with_changes([spent("a", 3 * UNIT, NOON)])
    low = before.with_changes([campaign("a", 2.0, at=NOON + 60)])
    assert low.pacing.closed.tolist() == [True]
    high = low.with_changes([campaign("a", 4.0, at=NOON + 120)])
    assert (high.pacing.closed.tolist(), high.pacing.probability.tolist()) == ([False], [FIRST])
    none = high.with_changes([campaign("a", None, at=NOON + 180)])
    later = none.pacing.advanced(NOON // TICK + 60, none.ledger)
    assert (later.closed.tolist(), later.probability.tolist()) == ([False], [1.0])


def test_ticks_that_are_ended_one_by_one_are_those_that_are_ended_at_once():
    budgets, _ = replayed(10.0, 3.0, until=DAY // 2)
    base, at = budgets.pacing, budgets.pacing.tick
    one_by_one = base
    for tick in range(at + 1, at + 900):
        one_by_one = one_by_one.advanced(tick, budgets.ledger)
    at_once = base.advanced(at + 899, budgets.ledger)
    for name in ("probability", "before", "spent", "begin", "end", "paid", "offered"):
        assert getattr(one_by_one, name).tolist() == getattr(at_once, name).tolist(), name
    assert base.advanced(at - 5, budgets.ledger) is base


def test_state_after_a_long_silence_is_that_of_a_day_that_began_anew():
    budgets, _ = replayed(10.0, 3.0, until=DAY // 2)
    tick = (MIDNIGHT + 5 * DAY + 3600) // TICK
    silent = budgets.pacing.advanced(tick, budgets.ledger)
    fresh = LiveBudgets().with_changes([campaign("a", 3.0, at=MIDNIGHT + 4 * DAY)])
    assert silent.probability.tolist() == fresh.pacing.advanced(tick, fresh.ledger).probability.tolist()
    assert silent.end.tolist() == [MIDNIGHT + 6 * DAY]


def test_money_is_kept_for_the_traffic_of_the_day_before():
    """Three quarters of the traffic come in the second half of the day; half of what comes is to be bought."""
    day = [spent("other", 0, MIDNIGHT + quarter * QUARTER + at) for quarter in range(QUARTERS)
           for at in range(10 if quarter < QUARTERS // 2 else 30)]
    budgets = LiveBudgets().with_changes([campaign("a", 1_000.0), *day])
    writer = LedgerWriter(budgets.ledger)
    assert usual_traffic(writer, MIDNIGHT + DAY) == 20
    assert usual_traffic(writer, MIDNIGHT) == 0
    begin, owed = MIDNIGHT + DAY, 0.0
    for second in range(0, DAY, TICK):
        if second == DAY // 2:
            at_noon = budgets.spent_today("a", begin + second) / UNIT
        pacing = budgets.pacing.advanced((begin + second) // TICK, budgets.ledger)
        owed += 0 if pacing.closed[0] else 2_000 * (0.5 if second < DAY // 2 else 1.5) * TICK / DAY * float(
            pacing.probability[0])
        events = [spent("a", UNIT, begin + second + 30) for _ in range(int(owed))]
        owed -= len(events)
        budgets = budgets.with_changes(events)
    assert at_noon == pytest.approx(1_000 * by_then(0.1 * 0.5 + 0.9 * 0.75, RESERVE / QUARTERS), rel=0.05)
    assert budgets.spent_today("a", begin + DAY - 1) == pytest.approx(1_000 * UNIT, rel=0.01)


def test_amounts_never_wrap_around():
    budgets = LiveBudgets().with_changes([campaign("a", 1.0), *(spent("a", 10**18, NOON) for _ in range(40))])
    assert budgets.pacing.closed.all()
    assert budgets.spent_today("a", NOON) == 40 * 10**18


def test_writer_leaves_what_was_before_as_it_is():
    base = LiveBudgets().with_changes([campaign("a", 1.0)]).pacing
    writer = PacingWriter(base, Ledger())
    writer.spend("a", 5, MIDNIGHT + 1)
    writer.spend("unknown", 5, MIDNIGHT + 1)
    assert (base.spent.tolist(), writer.now.spent.tolist()) == ([0], [5])
    assert Pacing().advanced(7, Ledger()).tick == 7
