"""Replays on the tiny bundle: money adds up, and budgets hold with and without pacing."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from loadtest.pacing.market import MICROS, Market
from loadtest.pacing.replay import BEGIN, DAY, PLACES, Replay, Requests
from service.retrieval.retriever import Retriever


@pytest.fixture(scope="module")
def replay(tiny_bundle):
    retriever = Retriever(Bundle.open(tiny_bundle))
    market = Market.drawn([np.array([0, 0, 0, 0.5, 0.5])], np.array([1.0]), positions=300, campaigns=4, rate=0.5,
                          seed=0)
    yield Replay(retriever, market, Requests.drawn(retriever.bundle.content.users.ids.tolist(), 100, 1, 0), 0)
    retriever.close()


def test_requests_are_those_of_a_day_with_a_quiet_night():
    requests = Requests.drawn([b"a", b"b"], 20_000, 2, 3)
    assert (np.diff(requests.at) >= 0).all()
    assert BEGIN <= requests.at[0] < requests.at[-1] < BEGIN + 2 * DAY
    hours = np.bincount(((requests.at - BEGIN) % DAY // 3600).astype(int), minlength=24)
    assert hours[4] < hours[10] < hours[16]


def test_days_without_budgets_win_what_bids_are_worth_and_remember_candidates(replay):
    free = replay.run({}, remember=True)
    assert free.spent.sum() > 0
    assert free.won.sum() >= free.spent.sum() - 1
    assert len(free.candidates) == 100
    for campaigns, values, prices in free.candidates[:20]:
        assert len(campaigns) == len(values) == len(prices)
        assert (values >= prices - 1).all()


def test_budgets_hold_and_pacing_reaches_the_end_of_the_day(replay):
    free = replay.run({})
    budgets = (free.spent[0] // 2).astype(np.int64)
    named = dict(zip(replay._market.names, budgets.tolist(), strict=True))
    unpaced, paced = replay.run(named, paced=False), replay.run(named)
    for outcome in (unpaced, paced):
        assert (outcome.spent[0] <= budgets + PLACES * 4 * MICROS).all()
    assert (unpaced.spent[0] >= budgets).all()
    assert paced.spent[0].sum() > 0.5 * budgets.sum()


def test_ads_have_the_campaigns_and_bids_of_the_market(replay):
    snapshot = replay.snapshot({"campaign-0000": 10**6})
    assert snapshot.bids.items.micros.tolist() == replay._market.bids.micros.tolist()
    assert snapshot.gates.budgets.declared["campaign-0000"].daily_budget == 10**6
    found = replay.search(0, snapshot, 10)
    assert len(found.rows) == 10
