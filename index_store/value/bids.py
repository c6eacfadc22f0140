"""Bids: what ads pay, in integer micros (millionths of a unit of the currency), by position."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from reprlib import repr as short
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import BidType
from index_store.declaration.values import FeatureError

BID = "bid"
"""Name of a bid in data, requests and changes; errors name it."""

BID_TYPES: tuple[BidType, ...] = get_args(BidType)
"""Arrays hold the number of a type in this order."""

CPM = BID_TYPES.index("CPM")

LABEL_TYPES: tuple[BidType, ...] = BID_TYPES[CPM + 1:]
"""Those that pay for a label, so that what they are worth depends on the user."""

MOST_MICROS = 10**12
"""Largest bid: a million units of the currency."""

NO_BID = 0
"""Micros of an ad without a bid."""

_MOST_CHANGED = 1 << 14
"""Changed bids that are looked up beside the others; more become part of them."""


@dataclass(frozen=True)
class Bid:
    """What one ad pays: for a thousand impressions (CPM), or for each label of the task of its type."""

    micros: int
    type: BidType

    def to_json(self) -> dict[str, Any]:
        return {"micros": self.micros, "type": self.type}


def parse_bid(raw: object, types: Collection[BidType]) -> Bid:
    """Reads a bid from decoded JSON.

    Args:
        raw: the JSON.
        types: that the declaration of the bundle pays for.

    Raises:
        FeatureError: it is none, or of another type; its name is BID.
    """
    if not isinstance(raw, Mapping) or set(raw) != {"micros", "type"}:
        raise FeatureError(BID, f"bid is {short(raw)}", 'give micros and type, such as {"micros": 250000, "type": '
                                                        f'"{next(iter(types))}"}}, or null for no bid')
    micros, kind = raw["micros"], raw["type"]
    if isinstance(micros, bool) or not isinstance(micros, int):
        raise FeatureError(BID, f"bid.micros is {short(micros)}, of type {type(micros).__name__}",
                           "give an integer, millionths of a unit of the currency")
    if not 1 <= micros <= MOST_MICROS:
        raise FeatureError(BID, f"bid.micros is {micros}, outside 1..{MOST_MICROS}",
                           "give millionths of a unit of the currency, or null instead of a bid of 0")
    if kind not in BID_TYPES:
        raise FeatureError(BID, f"bid.type is {short(kind)}", f"use one of {', '.join(types)}")
    if kind not in types:
        raise FeatureError(BID, f"bid.type is {kind}, but no task declares this bid_type",
                           f"use one of {', '.join(types)}, or declare in features.json the task that {kind} bids pay "
                           "for, and export again")
    return Bid(micros, kind)


@dataclass(frozen=True, eq=False)
class AdBids:
    """The bids of N ads. It is never changed; changed bids make another one that shares most of its arrays.

    Attributes:
        micros: (N,) int64, NO_BID for none, before the changed ones.
        types: (N,) uint8 numbers of BID_TYPES, likewise.
    """

    micros: NDArray[np.int64]
    types: NDArray[np.uint8]
    _changed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    _to: tuple[NDArray[np.int64], NDArray[np.uint8]] = field(
        default_factory=lambda: (np.empty(0, np.int64), np.empty(0, np.uint8)), repr=False)

    @classmethod
    def none(cls, ads: int) -> Self:
        """No bids."""
        return cls(np.zeros(ads, np.int64), np.zeros(ads, np.uint8))

    @classmethod
    def of(cls, bids: Collection[Bid | None]) -> Self:
        """Those of some ads, in order."""
        return cls(np.array([NO_BID if bid is None else bid.micros for bid in bids], np.int64),
                   np.array([0 if bid is None else BID_TYPES.index(bid.type) for bid in bids], np.uint8))

    def __len__(self) -> int:
        return len(self.micros)

    @property
    def changed(self) -> NDArray[np.int64]:
        """The changed ads, ascending; those that became part of `micros` are none."""
        return self._changed

    def at(self, ads: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Micros and types of some ads (C,): (C,) each."""
        micros, types = self.micros.take(ads), self.types.take(ads)
        if len(self._changed):
            at = np.searchsorted(self._changed, ads)
            found = self._changed.take(at, mode="clip") == ads
            micros[found], types[found] = (new.take(at[found]) for new in self._to)
        return micros, types

    @cached_property
    def whole(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Micros and types of all: (N,) each."""
        return self.at(np.arange(len(self)))

    def bid(self, ad: int) -> Bid | None:
        """That of one ad; None if it has none."""
        (micros,), (number,) = self.at(np.array([ad]))
        return None if micros == NO_BID else Bid(int(micros), BID_TYPES[number])

    def extended(self, bids: Collection[Bid | None]) -> Self:
        """With those of more ads."""
        new = AdBids.of(bids)
        return replace(self, micros=np.append(self.micros, new.micros), types=np.append(self.types, new.types))

    def replaced(self, bids: Mapping[int, Bid | None]) -> Self:
        """With other bids of some ads."""
        if not bids:
            return self
        new = AdBids.of(list(bids.values()))
        # Of equal numbers unique finds the first, which is the new one.
        changed, first = np.unique(np.concatenate([np.array(list(bids), np.int64), self._changed]), return_index=True)
        to = (np.concatenate([new.micros, self._to[0]])[first], np.concatenate([new.types, self._to[1]])[first])
        if len(changed) <= _MOST_CHANGED:
            return replace(self, _changed=changed, _to=to)
        micros, types = self.micros.copy(), self.types.copy()
        micros[changed], types[changed] = to
        return type(self)(micros, types)
