"""Pacing: the share of the requests that each campaign with a budget passes, so that its money lasts for its day.

Time is cut into ticks. The probability of a tick follows from what was written to the change log before it, by
operations that every processor rounds alike: whoever has read the same log has the same probabilities, and whoever
reads it again gets them again. A day begins anew, so what came before yesterday counts for nothing.

What a campaign would spend for each unit of traffic if it passed everywhere is estimated from what it spent lately, and
the probability moves towards the one that spends what is left over what is expected of the rest of the day. It moves by
factors, none of them larger than STEP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign import Campaign
from index_store.budgets.ledger import DAY, QUARTER, Books
from index_store.budgets.local_days import day_of

TICK = 60
"""Seconds of a tick; a quarter of an hour has a whole number of them."""

SETTLE = 2.0
"""Seconds after which the entries of a tick are taken to have reached every replica."""

FIRST, LEAST = 0.1, 1e-4
"""Probabilities: that of a day's first tick, and the smallest one. A campaign that began with 1 would spend a good part
of a small budget before the first correction."""

STEP = 1.5
"""Largest factor of a tick."""

MEMORY = 1 - 1 / 60
"""What counts of the tick before in the estimate: about an hour is remembered."""

RESERVE, FIRST_RESERVE, HASTE = 0.03 * DAY, 0.15 * DAY, 0.15
"""The end of a day that nothing is planned for, in quarters of an hour of mean traffic, also where nobody knows when
traffic comes; and by how much faster than evenly money is spent. What an unlucky hour leaves unspent can be made up
then. Without them, campaigns ended at about 0.95 of their budgets."""

FLOOR = 0.1
"""Share of the mean traffic that is expected even where there was none."""

UNLIMITED = -1
"""Stands for the budget of a campaign that has none."""

_MOST = 1 << 62
_MOST_STEPS = 26 * 3600 // TICK  # every local day ends within that many, and the next one begins anew
_SOON = 0.02  # quarters of an hour, in which all that is left is to be spent in the end
_AHEAD = 104  # quarters of an hour, more than the longest day has


@dataclass(frozen=True, eq=False, kw_only=True)
class Pacing:
    """The C campaigns that were ever given a budget, as of one tick.

    Attributes:
        tick: its number since 1970; what was written before it is accounted for.
        names: of the campaigns.
        zones: their time zones.
        index: name -> place among them.
        budget: (C,) int64 nanos a day, UNLIMITED for none.
        begin, end: (C,) int64, of the local day, in seconds since 1970.
        spent: (C,) int64 nanos of that day.
        probability: (C,) float64 of this tick.
        before: (C,) float64 of the tick before.
        paid: (C,) float64 nanos that were spent lately.
        offered: (C,) float64 the traffic that passed meanwhile, traffic x probability.
        in_tick: (C,) int64 nanos that were spent since this tick began.
        usual: (C,) float64 mean traffic of a quarter of an hour of the day before; 0 if there was none.
        phase, odd: (C,) float64 from 0 to 1 and (C,) int64, by the names: the order in which a campaign takes requests.
    """

    tick: int = 0
    names: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    index: Mapping[str, int] = field(default_factory=dict)
    budget: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    begin: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    end: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    spent: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    probability: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    before: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    paid: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    offered: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    in_tick: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    usual: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    phase: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    odd: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @cached_property
    def closed(self) -> NDArray[np.bool_]:
        """(C,) campaigns that have spent their budget of the day."""
        return np.asarray((self.budget != UNLIMITED) & (self.spent >= self.budget))

    def declared(self, name: str, campaign: Campaign, books: Books) -> Self:
        """With another budget of a campaign, whose pacing begins anew in this tick.

        Args:
            name: of the campaign.
            campaign: as it is from now on.
            books: what was spent so far.
        """
        budget = campaign.budget_nanos
        if name not in self.index and budget is None:
            return self
        at = self.index.get(name, len(self.names))
        begin, end = day_of(self.tick * TICK, campaign.time_zone)
        first = 1.0 if budget is None else FIRST
        mixed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
        values: dict[str, float] = {
            "budget": UNLIMITED if budget is None else budget, "begin": begin, "end": end,
            "spent": min(books.between(name, begin, end), _MOST), "probability": first, "before": first, "paid": 0.0,
            "offered": 0.0, "in_tick": 0, "usual": usual_traffic(books, begin), "phase": (mixed >> 11) / (1 << 53),
            "odd": 2 * (mixed & 31) + 1}
        arrays: dict[str, Any] = {
            key: np.append(getattr(self, key)[:at], np.append(np.array([value], getattr(self, key).dtype),
                                                          getattr(self, key)[at + 1:]))
            for key, value in values.items()}
        return replace(self, names=(*self.names[:at], name, *self.names[at + 1:]),
                       zones=(*self.zones[:at], campaign.time_zone, *self.zones[at + 1:]),
                       index={**self.index, name: at}, **arrays)

    def advanced(self, tick: int, books: Books) -> Pacing:
        """As of a later tick, if nothing more was written until then."""
        if tick <= self.tick:
            return self
        if not self.names:
            return replace(self, tick=tick)
        return _Steps(self, books).to(tick)


class PacingWriter:
    """Accounts for what is written, in the order of the log; `now` is the pacing that results.

    Args:
        before: the pacing until then.
        books: what was spent so far, each event after it was accounted for here.
    """

    def __init__(self, before: Pacing, books: Books) -> None:
        self._now, self._books = before, books
        self._copied = False

    @property
    def now(self) -> Pacing:
        return self._now

    def reach(self, written: float) -> None:
        """Ends the ticks before a time."""
        tick = int(written // TICK)
        if tick > self._now.tick:
            self._now = self._now.advanced(tick, self._books)

    def declare(self, name: str, campaign: Campaign) -> None:
        """See Pacing.declared."""
        self._now, self._copied = self._now.declared(name, campaign, self._books), False

    def spend(self, name: str, nanos: int, at: float) -> None:
        """An event that belongs to the day of the time `at`."""
        place = self._now.index.get(name)
        if place is None or not nanos:
            return
        if not self._copied:
            self._now = replace(self._now, spent=self._now.spent.copy(), in_tick=self._now.in_tick.copy())
            self._copied = True
        now = self._now
        now.in_tick[place] = min(int(now.in_tick[place]) + nanos, _MOST)
        if now.begin[place] <= at < now.end[place]:
            now.spent[place] = min(int(now.spent[place]) + nanos, _MOST)


class _Steps:
    """Ticks that end one after the other."""

    def __init__(self, before: Pacing, books: Books) -> None:
        self._before, self._books = before, books
        self._tick = before.tick
        self._values = {name: getattr(before, name).copy()
                        for name in ("begin", "end", "spent", "probability", "paid", "offered", "in_tick", "usual")}
        self._former = before.before
        self._quarter = -1
        self._counts: list[int] = []
        self._until = np.empty(0)

    def to(self, tick: int) -> Pacing:
        self._tick = max(self._tick, tick - _MOST_STEPS)
        while self._tick < tick:
            self._step()
        return replace(self._before, tick=tick, before=self._former, **self._values)

    def _step(self) -> None:
        values, budget = self._values, self._before.budget
        self._former = values["probability"].copy()
        self._reach(self._tick * TICK)
        values["paid"] = MEMORY * values["paid"] + values["in_tick"]
        values["offered"] = (MEMORY * values["offered"]
                             + self._expected(TICK / QUARTER, TICK / QUARTER * self._counts[0]) * values["probability"])
        values["in_tick"][:] = 0
        self._tick += 1
        now = self._tick * TICK
        self._reach(now)
        for at in np.flatnonzero(values["end"] <= now).tolist():
            self._begin_day(at, now)
        elapsed, quarters = now % QUARTER / QUARTER, (values["end"] - self._quarter * QUARTER) // QUARTER
        ahead = self._expected(quarters - elapsed, self._until[quarters] - elapsed * self._counts[0])
        reserve = np.where(values["usual"] > 0, RESERVE, FIRST_RESERVE)
        ahead = np.maximum((1 - HASTE) * ahead - reserve, _SOON)
        left = np.maximum(budget - values["spent"], 0) / ahead
        spending = values["paid"] > 0
        wanted = np.where(spending, left * values["offered"] / np.where(spending, values["paid"], 1.0), 1.0)
        probability = values["probability"]
        moved = np.clip(wanted, probability / STEP, probability * STEP)
        fresh = values["offered"] == 0
        moved[fresh] = probability[fresh]
        values["probability"] = np.where(budget == UNLIMITED, 1.0, np.clip(moved, LEAST, 1.0))

    def _begin_day(self, at: int, now: int) -> None:
        values = self._values
        begin, end = day_of(now, self._before.zones[at])
        values["begin"][at], values["end"][at] = begin, end
        values["spent"][at] = min(self._books.between(self._before.names[at], begin, end), _MOST)
        values["probability"][at] = self._former[at] = FIRST
        values["paid"][at] = values["offered"][at] = 0.0
        values["usual"][at] = usual_traffic(self._books, begin)

    def _reach(self, now: int) -> None:
        """Looks up the traffic of the day before, from now on."""
        if self._quarter != now // QUARTER:
            self._quarter = now // QUARTER
            self._counts = [self._books.traffic(self._quarter - DAY + at) for at in range(_AHEAD)]
            self._until = np.concatenate([[0.0], np.cumsum(self._counts, dtype=np.float64)])

    def _expected(self, quarters: NDArray[np.float64] | float, before: NDArray[np.float64] | float
                  ) -> NDArray[np.float64]:
        """The traffic (C,) that is expected of some quarters of an hour, whose traffic of the day before is known.

        It is a multiple of that of a mean quarter of an hour, and even for a campaign without a day before.
        """
        usual = self._values["usual"]
        known = usual > 0
        shaped = FLOOR * quarters + (1 - FLOOR) * before / np.where(known, usual, 1.0)
        return np.where(known, shaped, quarters)


def usual_traffic(books: Books, begin: int) -> float:
    """Mean traffic of the quarters of an hour of the 24 hours before a day begins."""
    return sum(books.traffic(begin // QUARTER - at) for at in range(1, DAY + 1)) / DAY
