"""Gates: which campaigns hold their ads back from a request, by a spent budget, by pacing, or by a frequency cap.

A request falls into one of BUCKETS by its user and tick, and a campaign passes in a share of them that is its
probability. Each campaign takes the buckets in an order of its own, so that what one holds back others pass. The bitmap
of a bucket is made when its first request comes, and serves all of them until the tick ends or a gate closes.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign_ads import NO_CAMPAIGN, CampaignAds
from index_store.budgets.live_budgets import LiveBudgets
from index_store.budgets.pacing import SETTLE, TICK, UNLIMITED, Pacing
from index_store.targeting.eligibility import Passing, PositionBitmap

BUCKETS = 64
_GOLDEN = 0.6180339887498949
_TICKS_KEPT = 2

GateKind = Literal["budget", "pacing", "frequency_cap", "no_change_log"]


@dataclass(frozen=True, kw_only=True)
class Held:
    """Why a campaign holds its ads back from a request.

    Attributes:
        by: a budget that is spent, pacing, a frequency cap, or a change log that cannot be read.
        campaign: its id.
        until: when that ends, in seconds since 1970; None if it is not known.
        probability: with which it passes requests of this tick, if it is pacing.
    """

    by: GateKind
    campaign: str
    until: float | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Standing:
    """The gate of one campaign for all requests of a tick.

    Attributes:
        gate: whether all pass, a share of them, or none.
        until: when a budget that is spent is renewed, in seconds since 1970; None if none is spent.
        probability: the share that passes.
    """

    gate: Literal["open", "paced", "closed"]
    until: float | None
    probability: float


@dataclass(frozen=True, eq=False)
class _Tick:
    """The gates of one tick, while none closes.

    Attributes:
        number: of the tick.
        base: the pacing as of the last entry of the log.
        pacing: as of the tick, with the campaigns in this order.
        probability: (C,) of passing; 0 where the budget is spent.
        numbers: (C,) of the campaigns among the ads.
        ads: whose campaigns they are.
    """

    number: int
    base: Pacing
    pacing: Pacing
    probability: NDArray[np.float64]
    numbers: NDArray[np.int64]
    ads: CampaignAds
    _passing: dict[int, Passing | None] = field(default_factory=dict)

    @cached_property
    def holds(self) -> bool:
        """Whether some campaign may hold its ads back."""
        return bool((self.probability < 1).any())

    def passes(self, bucket: int) -> NDArray[np.bool_]:
        """(C,) which campaigns pass the requests of a bucket."""
        place = bucket * self.pacing.odd & (BUCKETS - 1)
        drawn = self.pacing.phase + self.number * _GOLDEN + place / BUCKETS
        return drawn - np.floor(drawn) < self.probability

    def passing(self, bucket: int) -> Passing | None:
        """The ads that pass; None for all. Two threads may both make it."""
        if bucket not in self._passing:
            held = self.numbers[~self.passes(bucket)]
            self._passing[bucket] = passing_all_but(held, self.ads) if len(held) else None
        return self._passing[bucket]


@dataclass(frozen=True, eq=False)
class Gate:
    """What budgets and frequency caps do to one request.

    Attributes:
        bucket: of the request.
        capped: campaigns that its user has seen as often as they allow.
    """

    bucket: int
    capped: Collection[str]
    _tick: _Tick
    _unread: bool

    @cached_property
    def passing(self) -> Passing | None:
        """The ads that no campaign holds back; None for all."""
        tick = self._tick
        if not self.capped:
            return tick.passing(self.bucket)
        numbers = [tick.ads.numbers.number(name) for name in self.capped]
        return passing_all_but(np.concatenate([tick.numbers[~tick.passes(self.bucket)], numbers]), tick.ads)

    def held(self, position: int) -> Held | None:
        """Why the ad at a position is held back; None if it is not."""
        tick = self._tick
        name = tick.ads.name_at(position)
        if name is None:
            return None
        at = tick.pacing.index.get(name)
        if at is not None and tick.pacing.budget[at] != UNLIMITED:
            if self._unread:
                return Held(by="no_change_log", campaign=name)
            if tick.pacing.closed[at]:
                return Held(by="budget", campaign=name, until=float(tick.pacing.end[at]))
            if not tick.passes(self.bucket)[at]:
                return Held(by="pacing", campaign=name, until=float((tick.number + 1) * TICK + SETTLE),
                            probability=float(tick.probability[at]))
        return Held(by="frequency_cap", campaign=name) if name in self.capped else None


@dataclass(frozen=True, eq=False, kw_only=True)
class Gates:
    """The gates of one snapshot.

    Attributes:
        budgets: of the campaigns.
        ads: of the campaigns.
        unread_since: when the change log ceased to be readable, in seconds since 1970; None while it is.
        closed_without_log: whether campaigns with budgets hold all back then.
    """

    budgets: LiveBudgets
    ads: CampaignAds
    unread_since: float | None = None
    closed_without_log: bool = False
    _ticks: dict[tuple[int, bool], _Tick] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)

    def after(self, budgets: LiveBudgets, ads: CampaignAds) -> Gates:
        """With budgets and ads of later; what was made of these stays if it is still right."""
        if budgets is self.budgets and ads is self.ads:
            return self
        same = (ads is self.ads and budgets.declared is self.budgets.declared
                and np.array_equal(budgets.pacing.closed, self.budgets.pacing.closed))
        return replace(self, budgets=budgets, ads=ads, _ticks=self._ticks if same else {})

    def without_log(self, since: float | None, closed: bool) -> Gates:
        """With a change log that has not been readable since a time, or is again; see the attributes."""
        return replace(self, unread_since=since, closed_without_log=closed, _ticks={})

    def of(self, user_id: bytes, at: float, capped: Collection[str] = ()) -> Gate | None:
        """What holds ads back from a request; None if nothing does.

        Args:
            user_id: of the request.
            at: when it came, in seconds since 1970.
            capped: campaigns that its user has seen as often as they allow.
        """
        if not self.budgets.pacing.names and not capped:
            return None
        tick = self.tick(at)
        if not tick.holds and not capped:
            return None
        return Gate(bucket_of(user_id, tick.number), capped, tick, self._shut(at))

    def standing(self, name: str, at: float) -> Standing:
        """The gate of a campaign at a time."""
        tick = self.tick(at)
        place = tick.pacing.index.get(name)
        if place is None or tick.probability[place] == 1:
            return Standing("open", None, 1.0)
        probability = float(tick.probability[place])
        until = float(tick.pacing.end[place]) if tick.pacing.closed[place] else None
        return Standing("paced" if probability else "closed", until, probability)

    def tick(self, at: float) -> _Tick:
        """The gates of the tick of a time, which are those of the tick before until that has settled."""
        known = at if self.unread_since is None else min(at, self.unread_since)
        key = int((at - SETTLE) // TICK), self._shut(at)
        found = self._ticks.get(key)
        if found is None:
            with self._making:
                found = self._ticks.get(key) or self._made(*key, int((known - SETTLE) // TICK))
                self._ticks[key] = found
                for old in sorted(self._ticks)[:-_TICKS_KEPT]:
                    del self._ticks[old]
        return found

    def _shut(self, at: float) -> bool:
        """Whether all campaigns with budgets hold their ads back, because nobody knows what they spend."""
        return self.closed_without_log and self.unread_since is not None and at > self.unread_since + UNREAD_SECONDS

    def _made(self, number: int, shut: bool, known: int) -> _Tick:
        """The gates of a tick.

        Args:
            number: of the tick.
            shut: see `_shut`.
            known: the last tick until which the log is known; the probabilities stay what they were then.
        """
        budgets, ads = self.budgets, self.ads
        latest = max(self._ticks.values(), key=lambda one: one.number, default=None)
        base = start = budgets.pacing
        if latest is not None and latest.base is base and latest.pacing.tick <= min(number, known):
            start = latest.pacing  # nothing was written since
        pacing = start.advanced(number, budgets.ledger)
        paced = pacing if known >= number else start.advanced(known, budgets.ledger)
        probability = np.where(pacing.closed, 0.0, self._probabilities(paced, known))
        if shut:
            probability = np.where(pacing.budget == UNLIMITED, probability, 0.0)
        numbers = np.array([ads.numbers.number(name) for name in pacing.names], np.int64)
        return _Tick(number, base, pacing, probability, numbers, ads)


    def _probabilities(self, pacing: Pacing, tick: int) -> NDArray[np.float64]:
        """(C,) of a tick by the pacing, which may have reached the one after it."""
        return pacing.before if tick < pacing.tick else pacing.probability


UNREAD_SECONDS = 10.0
"""A change log that cannot be read for less than this closes no gate: Redis may be restarted meanwhile."""


def bucket_of(user_id: bytes, tick: int) -> int:
    """The bucket of a user's requests in a tick."""
    return blake2b(tick.to_bytes(8, "little") + user_id, digest_size=1).digest()[0] % BUCKETS


def passing_all_but(held: NDArray[np.integer], ads: CampaignAds) -> Passing:
    """The ads of other campaigns than some, which are given by number."""
    passes = np.ones(len(ads.numbers), np.bool_)
    passes[held] = False
    passes[NO_CAMPAIGN] = True
    return Passing(PositionBitmap.of(passes.take(ads.of_tree)), passes.take(ads.of_added))
