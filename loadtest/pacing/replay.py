"""Replays days of requests against a market, through a retriever and a snapshot whose clock is simulated.

Each place of an answer is an auction: the ad bids its eCPM against what others pay, and if it wins, it pays that or the
eCPM of the next ad of the answer, whichever is more. Its impression is an event like any other, which reaches the
snapshot a second later. All replays have the same requests and the same prices of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign import Campaign
from index_store.budgets.gates import Gates
from index_store.budgets.live_budgets import LiveBudgets
from index_store.budgets.pacing import Pacing
from index_store.changes.change_log import Change, Kind, Write
from index_store.live.snapshot import Snapshot
from index_store.live.user_history import AD_ID, PRICE, TYPE, EventType
from index_store.search.ranking import SearchResult, first_task_weights
from index_store.value.live_bids import LiveBids
from index_store.value.valuation import IMPRESSIONS
from loadtest.pacing.market import MICROS, Market
from model.progress.bars import Bar
from service.contract.query import Query, SearchOptions
from service.live.charging import charged
from service.retrieval.retriever import Retriever

BEGIN = 1_772_668_800
"""Thursday, 2026-03-05, 00:00 UTC."""

DAY = 86_400
PLACES = 5
CANDIDATES = 100
"""Ads of each request that perfect knowledge chooses from."""

_DELAY = 1.0
_REST = 0.35  # of the traffic of a mean hour, at its lowest


@dataclass(frozen=True, eq=False)
class Requests:
    """R requests of one or more days.

    Attributes:
        at: (R,) float64 ascending, in seconds since 1970.
        users: (R,) their users, among `ids`.
        ids: of users.
    """

    at: NDArray[np.float64]
    users: NDArray[np.int64]
    ids: Sequence[bytes]

    @classmethod
    def drawn(cls, ids: Sequence[bytes], each_day: int, days: int, seed: int) -> Requests:
        """Random ones: hardly any at four in the morning, most at four in the afternoon."""
        random = np.random.default_rng([seed, 1])
        minutes = np.arange(DAY // 60)
        traffic = 1 - (1 - _REST) * np.cos((minutes / 60 - 4) / 24 * 2 * np.pi)
        at = [BEGIN + day * DAY + 60 * random.choice(minutes, each_day, p=traffic / traffic.sum())
              + 60 * random.random(each_day) for day in range(days)]
        return cls(np.sort(np.concatenate(at)), random.integers(0, len(ids), each_day * days), ids)


@dataclass
class Outcome:
    """What campaigns spent and won, each array (days, C): micros, eCPM / IMPRESSIONS in micros, and impressions."""

    spent: NDArray[np.int64]
    won: NDArray[np.float64]
    shown: NDArray[np.int64]
    candidates: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]] = field(default_factory=list)


class UnpacedGates(Gates):
    """Gates that close when budgets are spent, and pass everything until then."""

    def _probabilities(self, pacing: Pacing, tick: int) -> NDArray[np.float64]:
        return np.ones(len(pacing.names))


class Replay:
    """Replays days.

    Args:
        retriever: of a calibrated bundle; its ads get the campaigns and bids of the market.
        market: the campaigns.
        requests: of all days.
        seed: of the prices.
    """

    def __init__(self, retriever: Retriever, market: Market, requests: Requests, seed: int) -> None:
        self._retriever, self._market, self._requests, self._seed = retriever, market, requests, seed
        self._days = int((requests.at[-1] - BEGIN) // DAY) + 1
        self._weights = first_task_weights(len(retriever.bundle.manifest.tasks))
        self._embeddings: dict[bytes, NDArray[np.float32]] = {}

    def run(self, budgets: Mapping[str, int], *, paced: bool = True, remember: bool = False) -> Outcome:
        """All days.

        Args:
            budgets: campaign -> micros a day; one that is missing has none.
            paced: False lets campaigns spend their budgets as fast as they can.
            remember: keeps the candidates of the last day.
        """
        shape = self._days, len(self._market.names)
        outcome = Outcome(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.int64))
        snapshot = self.snapshot(budgets, paced)
        late: list[Change] = []
        for number, at in enumerate(Bar(self._requests.at.tolist(), desc="requests", leave=False)):
            due = [change for change in late if change.at <= at]
            if due:
                snapshot, late = snapshot.with_changes(due), late[len(due):]
            day = int((at - BEGIN) // DAY)
            kept = remember and day == self._days - 1
            found = self.search(number, snapshot, CANDIDATES if kept else PLACES + 1)
            if kept:
                outcome.candidates.append(self._candidates(number, found, snapshot))
            late += self._auctions(number, at, found, snapshot, outcome, day, 1 + snapshot.as_of + len(late))
        return outcome

    def snapshot(self, budgets: Mapping[str, int], paced: bool = True) -> Snapshot:
        """The bundle with the ads of the market, and these budgets."""
        sealed = self._retriever.sealed
        gates = (Gates if paced else UnpacedGates)(budgets=LiveBudgets(), ads=self._market.ads)
        snapshot = replace(sealed, bids=LiveBids.sealed(sealed.tree, self._market.bids), gates=gates)
        return snapshot.with_changes([
            Change(sequence=snapshot.as_of + number, at=float(BEGIN), kind=Kind.CAMPAIGN, id=name,
                   fields=Campaign(daily_budget=micros, currency="USD", time_zone="UTC").to_fields())
            for number, (name, micros) in enumerate(budgets.items(), start=1)])

    def search(self, number: int, snapshot: Snapshot, top_k: int) -> SearchResult:
        """The best ads of a request by eCPM."""
        retriever, user_id = self._retriever, self._requests.ids[self._requests.users[number]]
        query = Query(user_id=user_id, top_k=top_k, task_weights=self._weights, at=float(self._requests.at[number]))
        user = retriever.encode(query, snapshot)
        if user_id not in self._embeddings:
            self._embeddings[user_id] = retriever.embed(retriever.tower_input(user, snapshot))
        options = SearchOptions(top_k=top_k, beam_width=retriever.bundle.manifest.search.beam_width, exact=False,
                                task_weights=self._weights, excluded=np.empty(0, np.int64), by_ecpm=True)
        return retriever.search(user, options, self._embeddings[user_id], snapshot)

    def _auctions(self, number: int, at: float, found: SearchResult, snapshot: Snapshot, outcome: Outcome, day: int,
                  sequence: int) -> list[Change]:
        """The impressions of the places that are won."""
        assert found.ecpm is not None
        events = []
        positions, worth = snapshot.positions(found.rows).tolist(), [*found.ecpm.tolist(), 0.0]
        for place, row in enumerate(found.rows[:PLACES]):
            campaign, ecpm = self._market.ads.at(positions[place]) - 1, worth[place]
            others = self._market.price(campaign, number, self._seed) * MICROS
            price = max(others, worth[place + 1])
            if ecpm >= others:
                events.append(Write(kind=Kind.EVENT, id="u", fields={
                    AD_ID: snapshot.ad_ids(np.array([row]))[0], TYPE: EventType.IMPRESSION.value,
                    PRICE: round(price / IMPRESSIONS)}))
                outcome.spent[day, campaign] += round(price / IMPRESSIONS)
                outcome.won[day, campaign] += ecpm / IMPRESSIONS
                outcome.shown[day, campaign] += 1
        return [Change(sequence=sequence + offset, at=at + _DELAY, kind=Kind.EVENT, id=event.id,
                       fields={**event.fields, **event.noted})
                for offset, event in enumerate(charged(events, snapshot, {}))]

    def _candidates(self, number: int, found: SearchResult, snapshot: Snapshot
                    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Campaigns, values and prices (CANDIDATES,) of what could win places; those without one are worth 0."""
        assert found.ecpm is not None
        campaigns = self._market.ads.of_tree[snapshot.positions(found.rows)].astype(np.int64) - 1
        prices = MICROS * np.array([self._market.price(one, number, self._seed) for one in campaigns.tolist()])
        wins = found.ecpm >= prices
        values = [campaigns, np.where(wins, found.ecpm / IMPRESSIONS, 0.0), np.where(wins, prices / IMPRESSIONS, 0)]
        padded = [np.pad(one, (0, CANDIDATES - len(one))) for one in values]
        return padded[0], padded[1], padded[2].astype(np.int64)
