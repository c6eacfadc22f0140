"""A hold-out of the train events: the latest ones where the log has an order, else random ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.data.label_windows import LabelWindows
from model.data.load import Dataset, Events
from model.data.tables import DataError


def hold_out(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Replaces the test set by a share of the train events.

    In an ordered log of impressions these are the latest of all, as in a test by time. Where labels come late they are
    the latest whose windows have closed, and the train events are those before them, as they were known then. In an
    ordered log of positives they are each user's latest, so that the users have histories; each keeps one event at
    least. In a log without user ids they are the latest of all as well. A log without an order loses random pairs of
    user and ad with all of their events, since one event of a pair would reveal the other.

    Args:
        dataset: the log.
        share: of the train events in [0, 1); 0 leaves the log as it is.
        seed: of the draw, and of what is as late as the earliest held-out event.

    Raises:
        DataError: too few windows of late labels have closed.
    """
    if not share:
        return dataset
    events, rng = dataset.train, np.random.default_rng([seed, 2])
    if not dataset.spec.history_ordered:
        held = _random_pairs(events, share, rng)
    elif dataset.windows is not None:
        return _closed(dataset, dataset.windows, share)
    elif dataset.spec.negatives == "impressions" or not dataset.spec.user_ids:
        held = np.zeros(len(events), bool)
        by_time = np.lexsort((rng.random(len(events)), events.timestamps))
        held[by_time[len(events) - round(share * len(events)):]] = True
    else:
        held = _latest_of_each_user(events, share, rng)
    return replace(dataset, train=events.where(~held), test=events.where(held))


def _closed(dataset: Dataset, windows: LabelWindows, share: float) -> Dataset:
    """Holds out the latest events whose windows have closed, half of these at most.

    Younger ones, which can be asked nothing, are left out.
    """
    events = dataset.train
    times, closed = events.timestamps, windows.closed(events.timestamps)
    latest = np.sort(times[closed])[::-1][:min(round(share * len(events)), int(closed.sum()) // 2)]
    before = times < (latest.min() if len(latest) else times.min())
    if not before.any():
        raise DataError(f"the longest window has closed for {int(closed.sum()):,} of the {len(events):,} train events, "
                        "of which a part is to be held out; bring a longer log, or give shorter windows")
    then = replace(windows, now=int(times[before].max()))
    train, test = events.where(before), events.where(closed & ~before)
    train = replace(train, labels=then.known(train.labels, train.timestamps, train.delays))
    test = replace(test, labels=windows.final(test.labels, test.delays))
    return replace(dataset, train=train, test=test, windows=then)


def _random_pairs(events: Events, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    width = int(events.items.max(initial=0)) + 1
    pairs, pair_of_event = np.unique(events.users.astype(np.int64) * width + events.items, return_inverse=True)
    held: NDArray[np.bool_] = (rng.random(len(pairs)) < share)[pair_of_event]
    return held


def _latest_of_each_user(events: Events, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The latest of events sorted by user and time; numbers are rounded at random, so that short histories count."""
    first = np.searchsorted(events.users, np.arange(int(events.users.max(initial=-1)) + 2))
    counts = np.diff(first)
    most = np.minimum(np.floor(share * counts + rng.random(len(counts))), counts - 1)
    from_end = first[events.users + 1] - np.arange(len(events))
    held: NDArray[np.bool_] = from_end <= most[events.users]
    return held
