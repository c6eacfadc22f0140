"""A market: campaigns that own the ads of a bundle, their bids and budgets, and the prices that others pay."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign_ads import CampaignAds, CampaignNumbers
from index_store.value.bids import BID_TYPES, AdBids
from index_store.value.valuation import IMPRESSIONS
from model.data.tables import DataError

MICROS = 1_000_000
_DAY = 86_400.0
_TIME = "%Y/%m/%d %H:%M:%SZ"


@dataclass(frozen=True, eq=False)
class Market:
    """C campaigns.

    Attributes:
        names: of the campaigns.
        ads: which of the ads of a bundle are theirs, by position.
        bids: of these ads.
        prices: (C, 1_000) integers, prices for a thousand impressions: what others pay for a place that the campaign
            bids for is one of them at random.
        budgets: (C,) relative sizes of their budgets.
    """

    names: Sequence[str]
    ads: CampaignAds
    bids: AdBids
    prices: NDArray[np.int64]
    budgets: NDArray[np.float64]

    @classmethod
    def drawn(cls, won: Sequence[NDArray[np.float64]], daily: NDArray[np.float64], *, positions: int, campaigns: int,
              rate: float, seed: int) -> Market:
        """A random one with CPC bids.

        Args:
            won: distributions of winning prices; each campaign has one of them.
            daily: amounts that ads spend a day, from which budgets are drawn.
            positions: number of ads.
            campaigns: their number.
            rate: mean probability of a click: a bid yields at it, on average, one of the winning prices.
            seed: of all draws.
        """
        random = np.random.default_rng([seed, 0])
        names = [f"campaign-{number:04d}" for number in range(campaigns)]
        of_position = random.integers(1, campaigns + 1, positions).astype(np.int32)
        market = random.integers(0, len(won), campaigns)
        prices = np.stack([random.choice(len(won[kind]), 1_000, p=won[kind]) for kind in market])
        paid = prices[of_position - 1, random.integers(0, 1_000, positions)] + random.random(positions)
        micros = np.maximum(1, paid * MICROS / (IMPRESSIONS * rate)).astype(np.int64)
        types = np.full(positions, BID_TYPES.index("CPC"), np.uint8)
        ads = CampaignAds(ad_field="campaign", of_tree=of_position,
                          numbers=CampaignNumbers(np.array([name.encode() for name in names])))
        return cls(names, ads, AdBids(micros, types), prices, random.choice(daily, campaigns))

    def price(self, campaign: int, request: int, seed: int) -> int:
        """What others pay for a place in the answer to a request that a campaign bids for, the same in each replay."""
        mixed = (request * 2_654_435_761 + campaign * 40_503 + seed * 69_069) * 0x9E3779B97F4A7C15
        return int(self.prices[campaign, (mixed >> 20 & 0xFFFFFFFF) % self.prices.shape[1]])


def daily_spend(path: Path) -> NDArray[np.float64]:
    """What real ads spent on each day of their run.

    Args:
        path: gzipped CSV with the columns `spend`, `currency`, `start` and `end`; those in USD that ran count.

    Raises:
        DataError: it holds none.
    """
    found = []
    try:
        with gzip.open(path, "rt") as lines:
            for row in csv.DictReader(lines):
                if row["currency"] == "USD" and row["end"] and float(row["spend"]) > 0:
                    start, end = (datetime.strptime(row[name], _TIME) for name in ("start", "end"))
                    found.append(float(row["spend"]) / max((end - start).total_seconds() / _DAY, 1.0))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no spending ({error!r}); give a gzipped CSV with the columns spend, currency, "
                        f"start and end, times such as 2018/10/09 15:51:44Z") from error
    if not found:
        raise DataError(f"{path} holds no ad that has spent USD; give another file")
    return np.array(found)
