"""A test set where a log has none: the latest events of all or of each user, or random pairs."""

from __future__ import annotations

from model.infer.guess import Guess
from model.infer.reading import Log

SHARE = 0.1
"""Of the events."""

KNOWN = 0.5
"""Share of the test users who must have a positive before the test, if users have a history at all."""


def find_split(log: Log, *, timed: bool, history: bool) -> tuple[str, Guess]:
    """SQL that is true for the test events of the table `log_events`, and why it is these.

    Args:
        log: with the table `log_events` of `user_id`, `ad_id`, `timestamp`, `row` and `positive`.
        timed: whether timestamps order the events.
        history: whether users have one.
    """
    if timed:
        row = log.con.execute(f"SELECT quantile_disc(timestamp, {1 - SHARE}) FROM log_events").fetchone()
        assert row is not None
        bound = row[0]
        late = f"timestamp >= {bound}" if isinstance(bound, int) else f"timestamp >= TIMESTAMP '{bound}'"
        if not _usable(log, late):
            late = late.replace(">=", ">")
        if _usable(log, late):
            known = _known(log, late) if history else 1.0
            if known >= KNOWN:
                return late, Guess("test events", f"the latest {_share(log, late):.0%}",
                                   f"those from {bound} on: what a model that is trained before has to predict")
            own = "n > 2 AND place <= greatest(1, n // 10)"
            if _usable(log, own):
                return own, Guess("test events", f"each user's latest {_share(log, own):.0%}",
                                  f"of the users of the latest {_share(log, late):.0%}, only {known:.0%} have an "
                                  "earlier "
                                  "positive, so a split by time would test users without a history")
            return late, Guess("test events", f"the latest {_share(log, late):.0%}", f"those from {bound} on, though "
                                                                                     "only "
                               f"{known:.0%} of their users have an earlier positive: histories are short")
    pairs = "('0x' || substr(md5(user_id || '|' || ad_id), 1, 8))::BIGINT % 10 = 0"
    if _usable(log, pairs):
        why = "their times leave no share of the latest" if timed else "there are no times"
        return pairs, Guess("test events", f"random pairs, {_share(log, pairs):.0%}", why)
    return "false", Guess("test events", "none", "the log is too small to hold out a part of it")


def _usable(log: Log, where: str) -> bool:
    """Whether a split leaves positives on both sides, and no more than half of the events for the test."""
    row = log.con.execute(f"SELECT count(*) FILTER ({where}), count(*), count(*) FILTER (({where}) AND positive), "
                          f"count(*) FILTER (positive), count(*) FILTER (NOT positive AND NOT ({where})), "
                          "count(*) FILTER (NOT positive) FROM log_events").fetchone()
    assert row is not None
    test, events, test_positives, positives, train_negatives, negatives = row
    return bool(0 < test <= events / 2 and 0 < test_positives < positives and bool(train_negatives) == bool(negatives))


def _known(log: Log, where: str) -> float:
    row = log.con.execute(f"""
        SELECT count(*) FILTER (user_id IN (SELECT user_id FROM log_events WHERE positive AND NOT ({where})))
               / count(*)::DOUBLE FROM (SELECT DISTINCT user_id FROM log_events WHERE {where})""").fetchone()
    assert row is not None
    return float(row[0])


def _share(log: Log, where: str) -> float:
    row = log.con.execute(f"SELECT avg(({where})::INT) FROM log_events").fetchone()
    assert row is not None
    return float(row[0])
