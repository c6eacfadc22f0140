"""A user's live history: the ads that the user clicked since the bundle was sealed, most recent first.

It is packed into bytes, 13 for each event. Ads are kept whether the bundle knows them or not, and become rows when a
request reads them: one that the bundle does not know counts for nothing until it does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.values import MAX_LIST

AD_ID, TYPE, AT, REQUEST_ID, PRICE, CONTEXT = "ad_id", "type", "at", "request_id", "price_micros", "context"
"""Fields of an event: its ad, its EventType, when it was in seconds since 1970 (left out if that is when it was
written), the request whose answer it belongs to (left out if unknown), its price (left out if that follows from the
ad's bid), and its context fields by name (left out if unknown)."""

PROPENSITY, EXPLORED = "propensity", "explored"
"""Fields of an event of an answer that explored: with which probability it shows the ad, and whether it did so to
explore it."""

NO_EVENTS = b""
"""The history without an event."""

_EVENT = np.dtype([("at", "<f8"), ("ad", "<i4"), ("converted", "?")])
_PACKED, _TIME = struct.Struct("<di?"), struct.Struct("<d")


class EventType(StrEnum):
    """What a user did with an ad."""

    IMPRESSION = "impression"
    CLICK = "click"
    CONVERSION = "conversion"


def events_in(history: bytes) -> int:
    """Number of events in a history."""
    return len(history) // _PACKED.size


def with_event(history: bytes, event: EventType, at: float, ad: int, most: int) -> bytes:
    """A history after one more event, which comes before those of the same time.

    Args:
        history: before it.
        event: a click or a conversion.
        at: when, in seconds since 1970.
        ad: number of the ad.
        most: events to keep; the oldest go.
    """
    place = 0
    while place < len(history) and _TIME.unpack_from(history, place)[0] > at:
        place += _PACKED.size
    packed = _PACKED.pack(at, ad, event is EventType.CONVERSION)
    return (history[:place] + packed + history[place:])[:most * _PACKED.size]


def rows_of(history: bytes, stored: NDArray[np.int32],
            look_up: Callable[[NDArray[np.int32]], NDArray[np.int64]]) -> NDArray[np.int32]:
    """The whole history of a user as item rows (M,), most recent first: the live events, then those of the bundle.

    As in the histories of the offline job, an event with a label counts, and a repeated one counts again. There, a
    click and the conversion that follows it are two labels of one event. So a conversion counts only if the history
    has no click of its ad.

    Args:
        history: live events.
        stored: (H,) item rows, the bundle's history of the user.
        look_up: numbers of ads (N,) -> item rows (N,), -1 for an ad that the bundle does not know.
    """
    if not history:
        return stored
    events = np.frombuffer(history, _EVENT)
    ads, converted = events["ad"], events["converted"]
    rows = look_up(ads)
    counted = rows >= 0
    if converted.any():
        counted &= ~(converted & (np.isin(ads, ads[~converted]) | np.isin(rows, stored)))
    return np.concatenate([rows[counted], stored])[:MAX_LIST].astype(np.int32)
