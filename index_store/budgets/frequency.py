"""Frequency: the impressions that a user had of campaigns with a cap, packed into bytes, 12 for each.

Of each campaign no more are kept than its cap counts, and of each user MOST_SEEN at most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from index_store.budgets.campaign import MOST_HOURS, FrequencyCap

MOST_SEEN = 256
"""Impressions of a user that are kept; the oldest go, whichever campaign they belong to."""

NOTHING_SEEN = b""

_SEEN = np.dtype([("at", "<f8"), ("campaign", "<i4")])
_HOUR = 3600.0


def with_impression(seen: bytes, campaign: int, at: float, cap: FrequencyCap) -> bytes:
    """What a user has seen after one more impression.

    Args:
        seen: before it.
        campaign: number of the campaign.
        at: when, in seconds since 1970.
        cap: of that campaign.
    """
    all_seen = np.append(np.frombuffer(seen, _SEEN), np.array([(at, campaign)], _SEEN))
    all_seen = all_seen[np.argsort(all_seen["at"], kind="stable")]
    mine = np.flatnonzero(all_seen["campaign"] == campaign)
    counts = all_seen["at"] > all_seen["at"][-1] - MOST_HOURS * _HOUR
    counts[mine[:-cap.impressions]] = False
    kept: bytes = all_seen[counts][-MOST_SEEN:].tobytes()
    return kept


def capped(seen: bytes, at: float, cap_of: Callable[[int], FrequencyCap | None]) -> list[int]:
    """Numbers of the campaigns that a user has seen as often as they allow.

    Args:
        seen: by the user.
        at: the time that it is asked for.
        cap_of: number -> cap; None for none.
    """
    all_seen = np.frombuffer(seen, _SEEN)
    found = []
    for number in np.unique(all_seen["campaign"]).tolist():
        cap = cap_of(number)
        if cap is not None:
            times = all_seen["at"][all_seen["campaign"] == number]
            if np.count_nonzero(times > at - cap.hours * _HOUR) >= cap.impressions:
                found.append(number)
    return found
