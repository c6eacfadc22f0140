"""Live users: what the change log says about users, laid over the user table of a bundle. Never changed itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.campaign import Campaign, FrequencyCap
from index_store.budgets.frequency import NOTHING_SEEN, capped, with_impression
from index_store.changes.change_log import Change, Kind
from index_store.changes.records import CAMPAIGN
from index_store.declaration.values import FeatureError
from index_store.features.encoder import FeatureEncoder
from index_store.live.sharded_map import ShardedMap
from index_store.live.user_history import AD_ID, AT, NO_EVENTS, TYPE, EventType, rows_of, with_event

FEATURES = "features"
"""Name of the field of a state that holds the features of its user or ad."""

MOST_HISTORIES = 1 << 20
"""Users whose events are kept; beyond it those who were active least recently lose theirs."""

_UNBOUNDED = 1 << 62


class AdNumbers:
    """Numbers for ids, such as those of the ads in histories, in the order in which they come; they never change."""

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def number(self, ad_id: bytes) -> int:
        """The number of an id, a new one if it has none; only the thread that applies changes may call it."""
        found = self._numbers.get(ad_id)
        if found is None:
            found = self._numbers[ad_id] = len(self._ids)
            self._ids.append(ad_id)
        return found

    def name(self, number: int) -> str:
        """The id of a number, as text."""
        return self._ids[number].decode()

    def ids(self, numbers: NDArray[np.int32]) -> NDArray[np.bytes_]:
        """Ids by their numbers (N,)."""
        return np.array([self._ids[number] for number in numbers.tolist()])


@dataclass(frozen=True)
class LiveUser:
    """What the log says about one user.

    Attributes:
        features: all that are known, by name, as they came; None for those of the bundle.
        forgotten: whether the bundle's user of this id counts for nothing.
        history: live events.
        seen: impressions of campaigns with frequency caps.
    """

    features: Mapping[str, Any] | None
    forgotten: bool
    history: bytes
    _numbers: AdNumbers
    seen: bytes = NOTHING_SEEN
    _seen_of: AdNumbers = field(default_factory=AdNumbers)
    _caps: Mapping[str, FrequencyCap] = field(default_factory=dict)

    def capped(self, at: float) -> list[str]:
        """Campaigns that the user has seen as often as they allow, at a time in seconds since 1970."""
        if not self.seen or not self._caps:
            return []
        name = self._seen_of.name
        return [name(number) for number in capped(self.seen, at, lambda number: self._caps.get(name(number)))]

    def rows(self, stored: NDArray[np.int32], look_up: Callable[[NDArray[np.bytes_]], NDArray[np.int64]]
             ) -> NDArray[np.int32]:
        """The whole history as item rows, see `rows_of`.

        Args:
            stored: (H,) item rows, the bundle's history of the user.
            look_up: ids of ads (N,) -> item rows (N,), -1 for an ad that the bundle does not know.
        """
        return rows_of(self.history, stored, lambda numbers: look_up(self._numbers.ids(numbers)))


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveUsers:
    """Live users of one bundle, by id.

    Attributes:
        encoder: of the bundle.
        histories: live events.
        features: as JSON.
        forgotten: those whose row in the bundle counts for nothing.
        numbers: of the ads in histories; all successors share them.
        seen: impressions of campaigns with frequency caps.
        seen_of: numbers of these campaigns; all successors share them.
        caps: campaign -> its frequency cap.
    """

    encoder: FeatureEncoder
    histories: ShardedMap[bytes]
    features: ShardedMap[bytes]
    forgotten: ShardedMap[bool]
    numbers: AdNumbers = field(default_factory=AdNumbers)
    seen: ShardedMap[bytes]
    seen_of: AdNumbers = field(default_factory=AdNumbers)
    caps: Mapping[str, FrequencyCap] = field(default_factory=dict)

    @classmethod
    def none(cls, encoder: FeatureEncoder, most_histories: int = MOST_HISTORIES) -> Self:
        """Before the first change."""
        return cls(encoder=encoder, histories=ShardedMap.of(most_histories), features=ShardedMap.of(_UNBOUNDED),
                   forgotten=ShardedMap.of(_UNBOUNDED), seen=ShardedMap.of(most_histories))

    def of(self, user_id: bytes) -> LiveUser:
        """What the log says about one user."""
        features = self.features.get(user_id)
        return LiveUser(None if features is None else json.loads(features), bool(self.forgotten.get(user_id)),
                        self.histories.get(user_id) or NO_EVENTS, self.numbers,
                        (self.seen.get(user_id) if self.caps else None) or NOTHING_SEEN, self.seen_of, self.caps)

    def with_changes(self, changes: Sequence[Change]) -> Self:
        """The users after some changes, in order; those of ads are left out."""
        histories: dict[bytes, bytes | None] = {}
        features: dict[bytes, bytes | None] = {}
        forgotten: dict[bytes, bool | None] = {}
        for change in changes:
            user_id = change.id.encode()
            if change.kind is Kind.USER:
                features[user_id] = self._fitting(change.fields[FEATURES])
            elif change.kind is Kind.EVENT:
                if change.fields[TYPE] != EventType.IMPRESSION:
                    before = histories[user_id] if user_id in histories else self.histories.get(user_id)
                    histories[user_id] = self._acted(before or NO_EVENTS, change)
            elif change.kind is Kind.FORGOTTEN:
                histories[user_id], features[user_id], forgotten[user_id] = None, None, True
        after = self.with_impressions(changes)
        if not (histories or features):
            return after
        return replace(after, histories=self.histories.replaced(histories), features=self.features.replaced(features),
                       forgotten=self.forgotten.replaced(forgotten))

    def with_impressions(self, changes: Sequence[Change]) -> Self:
        """With the impressions of capped campaigns, and these caps, in some changes in order."""
        seen: dict[bytes, bytes | None] = {}
        caps = dict(self.caps)
        for change in changes:
            if change.kind is Kind.CAMPAIGN:
                cap = Campaign.of_fields(change.fields).frequency_cap
                caps.pop(change.id, None)
                if cap is not None:
                    caps[change.id] = cap
            elif change.kind is Kind.FORGOTTEN:
                seen[change.id.encode()] = None
            elif change.kind is Kind.EVENT and caps and change.fields[TYPE] == EventType.IMPRESSION:
                name, user_id = change.fields.get(CAMPAIGN), change.id.encode()
                if name in caps:
                    before = seen[user_id] if user_id in seen else self.seen.get(user_id)
                    seen[user_id] = with_impression(before or NOTHING_SEEN, self.seen_of.number(name.encode()),
                                                    change.fields.get(AT, change.at), caps[name])
        if not seen and caps == self.caps:
            return self
        return replace(self, seen=self.seen.replaced(seen), caps=caps)

    def _acted(self, before: bytes, change: Change) -> bytes:
        event = change.fields
        return with_event(before, EventType(event[TYPE]), event.get(AT, change.at),
                          self.numbers.number(event[AD_ID].encode()), self.encoder.spec.history_length)

    def _fitting(self, features: Mapping[str, Any]) -> bytes:
        """The features that fit this bundle, which may declare others than the one that they were checked against."""
        if not self._fit(features):
            features = {name: value for name, value in features.items() if self._fit({name: value})}
        return json.dumps(dict(features)).encode()

    def _fit(self, features: Mapping[str, Any]) -> bool:
        try:
            self.encoder.encode_user(features)
        except FeatureError:
            return False
        return True
