"""Logged answers: the impressions of answers that explored, with what came of them, from a change log or a table.

In a change log these are the impressions of `POST /events` that have a propensity; clicks and conversions belong to the
impression of the same user, ad and request (decision 27). A table has one impression a row, with its reward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index_store.changes.change_log import Change, ChangeLogError, Kind
from index_store.changes.open_log import open_existing_log
from index_store.live.user_history import AD_ID, EXPLORED, PROPENSITY, REQUEST_ID, TYPE, EventType
from index_store.value.bids import BID
from model.data.tables import DataError
from model.progress.bars import Bar

_PAGE = 1_000
_COLUMNS = ("user_id", "ad_id", REQUEST_ID, PROPENSITY, "reward")


@dataclass(frozen=True, eq=False, kw_only=True)
class LoggedAnswers:
    """N impressions of A answers, those of an answer one after the other.

    Attributes:
        users: (A,) ids.
        answers: (N,) number of the answer of each.
        ads: (N,) ids.
        propensities: (N,) above 0 up to 1.
        explored: (N,) bool, those that were shown to be explored.
        rewards: what came of each: task -> (N,) 0 or 1; or `reward` of a table alone.
        bids: what each ad paid then by the log, as JSON: ABSENT where the log does not say.
        left_out: impressions of answers without exploration.
    """

    users: NDArray[np.bytes_]
    answers: NDArray[np.int64]
    ads: NDArray[np.bytes_]
    propensities: NDArray[np.float64]
    explored: NDArray[np.bool_]
    rewards: Mapping[str, NDArray[np.float64]]
    bids: list[Any]
    left_out: int


ABSENT = object()
"""In place of a bid: the log says nothing about it."""


@dataclass(kw_only=True)
class _Impression:
    user: str
    ad: str
    request: str | None
    propensity: float | None
    explored: bool
    bid: Any = ABSENT
    rewards: dict[str, float] = field(default_factory=dict)

    @property
    def answer(self) -> tuple[str | None, str]:
        """What names the answer; an id that several users share is not of one."""
        return self.request, self.user


def read_logged_answers(where: str) -> LoggedAnswers:
    """Reads the answers that explored.

    Args:
        where: path of a SQLite change log, URL of a Redis that has one, or path of a Parquet table with the columns
            `user_id`, `ad_id`, `request_id`, `propensity` and `reward`, and optionally `explored`.

    Raises:
        DataError: the log cannot be read, no answer explored, or impressions lack a propensity that others of the same
            answer have, or have one that is none.
    """
    if where.endswith(".parquet"):
        return _checked(where, _of_table(Path(where)))
    try:
        with closing(open_existing_log(where, None)) as opened:
            return _checked(where if "://" not in where else "the change log", _of_changes(_changes(opened)))
    except ChangeLogError as error:
        raise DataError(str(error)) from error


def _changes(opened: Any) -> Iterable[Change]:
    after = opened.trimmed()
    with Bar(desc="log", unit="entry", unit_scale=True, leave=False) as bar:
        while page := opened.read(after, _PAGE):
            yield from page
            after = page[-1].sequence
            bar.update(len(page))


def _of_changes(changes: Iterable[Change]) -> list[_Impression]:
    """Impressions with their labels and the bids of their time; one that is reported twice counts once."""
    bids: dict[str, Any] = {}
    impressions: dict[tuple[str, str, str | None], _Impression] = {}
    labels: set[tuple[tuple[str, str, str | None], str]] = set()
    for change in changes:
        said = change.fields
        if change.kind is Kind.AD and BID in said:
            bids[change.id] = said[BID]
        elif change.kind is Kind.EVENT:
            key = change.id, said[AD_ID], said.get(REQUEST_ID)
            if said[TYPE] != EventType.IMPRESSION:
                labels.add((key, said[TYPE]))
            elif key[2] is None or key not in impressions:
                kept = key if key[2] is not None else (*key[:2], f"\0{len(impressions)}")
                impressions[kept] = _Impression(user=key[0], ad=key[1], request=key[2], propensity=said.get(PROPENSITY),
                                                explored=said.get(EXPLORED, False), bid=bids.get(key[1], ABSENT))
    for task in (EventType.CLICK, EventType.CONVERSION):
        for key, one in impressions.items():
            one.rewards[task] = float((key, task) in labels)
    return list(impressions.values())


def _of_table(path: Path) -> list[_Impression]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; it needs the columns {', '.join(_COLUMNS)}, and may have "
                        f"{EXPLORED}")
    return [_Impression(user=str(row["user_id"]), ad=str(row["ad_id"]), request=row[REQUEST_ID],
                        propensity=row[PROPENSITY], explored=bool(row.get(EXPLORED)),
                        rewards={"reward": float(row["reward"])}) for row in table.to_pylist()]


def _checked(where: str, impressions: list[_Impression]) -> LoggedAnswers:
    """The answers that explored, in the order of their requests.

    Raises:
        DataError: as read_logged_answers.
    """
    exploring = {one.answer for one in impressions if one.propensity is not None and one.request is not None}
    kept = sorted((one for one in impressions if one.answer in exploring), key=lambda one: str(one.answer))
    bad = [one for one in kept if one.propensity is None or not 0 < one.propensity <= 1]
    if bad:
        first = bad[0]
        raise DataError(f"{where} has {len(bad):,} impressions, of the {len(kept):,} of answers that explored, whose "
                        f"propensity is missing or not above 0 and up to 1: the first is {first.propensity} of ad "
                        f"{first.ad} in request {first.request}; report each ad with the propensity of its answer")
    if not kept:
        raise DataError(f"{where} has {len(impressions):,} impressions, none of them with a propensity; ask for ads "
                        "with explore above 0, and send propensity and request_id of the answer with its impressions")
    number = {answer: at for at, answer in enumerate(dict.fromkeys(one.answer for one in kept))}
    return LoggedAnswers(
        users=np.array([user.encode() for _, user in number]),
        answers=np.array([number[one.answer] for one in kept]), ads=np.array([one.ad.encode() for one in kept]),
        propensities=np.array([one.propensity for one in kept], np.float64),
        explored=np.array([one.explored for one in kept], np.bool_),
        rewards={name: np.array([one.rewards[name] for one in kept]) for name in kept[0].rewards},
        bids=[one.bid for one in kept], left_out=len(impressions) - len(kept))
