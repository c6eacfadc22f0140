"""Attribution: the impression that a click or a conversion belongs to.

It is the one of the same user, ad and `request_id`, whatever their clocks say about the order of the two. If none has
the request, or the event names none, it is the last impression of user and ad that came before it; of an event that
names a request, the last that names none. An impression counts as long as the attribution window: an event that finds
none is a row of its own, which later ones may belong to. Impressions of the same user, ad and request within the window
are one. In a log of positives, clicks take the part of impressions.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.live.user_history import REQUEST_ID
from model.data.clocks import per_second

_Shown = list[tuple[int, int]]
"""Time and row of impressions, ascending."""


def attributed(older: pa.Table, new: pa.Table, labels: pa.Table, window: float) -> tuple[pa.Table, pa.Table]:
    """Joins labels to impressions.

    Args:
        older: events from before.
        new: impressions that came after them.
        labels: clicks and conversions that came after them, one a row. All three have the same columns: those of a log,
            then `request_id`, null if unknown. Only labels are joined: the context stays that of the impression.
        window: the attribution window, in seconds.

    Returns:
        The older events and the new ones, with the labels. New ones that were there before are left out; labels that
        found no impression are added.
    """
    events = pa.concat_tables([older, new, labels])
    pairs, times = _pairs(events), events["timestamp"].cast(pa.int64()).to_numpy()
    first_new, first_label = len(older), len(older) + len(new)
    by_time = [first + np.argsort(times[first:end], kind="stable")
               for first, end in ((first_new, first_label), (first_label, len(events)))]
    rows = np.concatenate([np.flatnonzero(np.isin(pairs[:first_new], pairs[first_new:])), *by_time])
    requests = events[REQUEST_ID].take(pa.array(rows)).to_pylist()
    impressions, belongs_to = _Impressions(int(window * _units(events))), np.arange(len(events))
    for row, pair, at, request in zip(rows.tolist(), pairs[rows].tolist(), times[rows].tolist(), requests, strict=True):
        found = None if row < first_new else impressions.find(pair, at, request, same_only=row < first_label)
        if found is None:
            impressions.add(row, pair, at, request)
        else:
            belongs_to[row] = found
    for name in (field.name for field in events.schema if pa.types.is_int8(field.type)):
        values = events[name].to_numpy().copy()
        np.maximum.at(values, belongs_to, values.copy())
        events = events.set_column(events.column_names.index(name), name, pa.array(values, pa.int8()))
    own = pa.array(belongs_to[first_new:] == np.arange(first_new, len(events)))
    return events.slice(0, first_new), events.slice(first_new).filter(own)


class _Impressions:
    """The impressions so far.

    Args:
        window: the attribution window, in units of their times.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._of_pair: defaultdict[int, _Shown] = defaultdict(list)
        self._of_request: defaultdict[tuple[int, str | None], _Shown] = defaultdict(list)

    def add(self, row: int, pair: int, at: int, request: str | None) -> None:
        """Adds an impression of a user and an ad."""
        insort(self._of_pair[pair], (at, row))
        insort(self._of_request[pair, request], (at, row))

    def find(self, pair: int, at: int, request: str | None, *, same_only: bool) -> int | None:
        """The row of the impression that an event belongs to; with `same_only`, only if it has the same request."""
        if request is not None:
            same = self._last(self._of_request[pair, request], at, at + self._window)
            if same is not None:
                return same
        if same_only:
            return None
        return self._last(self._of_pair[pair] if request is None else self._of_request[pair, None], at, at)

    def _last(self, shown: _Shown, at: int, until: int) -> int | None:
        place = bisect_right(shown, until, key=lambda one: one[0])
        return shown[place - 1][1] if place and shown[place - 1][0] >= at - self._window else None


def _pairs(events: pa.Table) -> NDArray[np.int64]:
    """A number for each event, the same for the same user and ad."""
    users, ads = (pc.dictionary_encode(events[name].combine_chunks()) for name in ("user_id", "ad_id"))
    pairs: NDArray[np.int64] = users.indices.to_numpy().astype(np.int64) * len(ads.dictionary) + ads.indices.to_numpy()
    return pairs


def _units(events: pa.Table) -> int:
    """Units of the timestamps in a second."""
    return per_second(events.schema.field("timestamp").type)
