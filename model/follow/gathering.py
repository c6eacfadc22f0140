"""From entries of the change log to a window: states of ads and users, impressions, and labels to join to them.

In a log of positives, each click is an event of the log, and impressions are none.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index_store.changes.change_log import Change, Kind
from index_store.declaration.spec import FeatureSpec
from index_store.declaration.spec import Kind as FieldKind
from index_store.declaration.values import as_key
from index_store.live.user_history import AD_ID, AT, CONTEXT, REQUEST_ID, TYPE, EventType
from model.data.tables import (
    AD_EXTRAS,
    ADS,
    BID,
    BID_TYPE,
    EVENTS,
    TARGETING,
    USERS,
    DataError,
    Side,
    side_schema,
)
from model.data.windows import Window, window_schema
from model.progress.lines import tell

LABELS = (EventType.CLICK, EventType.CONVERSION)
"""Types of events that are labels; tasks have the same names."""

_LATEST_SECONDS = 1 << 34
"""Integer timestamps beyond this, in the year 2514, are not seconds."""


@dataclass
class Gathering:
    """Collects the entries of one window.

    Args:
        log: data folder of everything before it.
        spec: of the log.

    Raises:
        DataError: the log has a task that no event is about, or its timestamps are integers that are not seconds.
    """

    log: Path
    spec: FeatureSpec
    _ads: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _users: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _forgotten: dict[str, None] = field(default_factory=dict)
    _events: list[tuple[str, str, str, float, str | None, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for task in self.spec.tasks:
            if task.name not in LABELS:
                raise DataError(f"{self.log} has the task {task.name}, but events of the change log are "
                                f"{' or '.join(LABELS)}; rename the task in features.json and in the events")
        self._clock = pq.read_schema(self.log / EVENTS).field("timestamp").type
        if pa.types.is_integer(self._clock):
            latest = pc.max(pq.read_table(self.log / EVENTS, columns=["timestamp"])["timestamp"]).as_py()
            if latest > _LATEST_SECONDS:
                raise DataError(f"{self.log}/{EVENTS} has the timestamp {latest}, which is not in seconds since 1970 "
                                "like the change log; write Arrow timestamps, which know their unit, or seconds")

    @property
    def events(self) -> int:
        """Events so far."""
        return len(self._events)

    def add(self, changes: Iterable[Change]) -> None:
        """Takes the next entries, in order."""
        for change in changes:
            if change.kind is Kind.AD:
                self._ads[change.id] = change.fields
            elif change.kind is Kind.USER:
                self._users[change.id] = change.fields
            elif change.kind is Kind.EVENT:
                said = change.fields
                self._events.append((change.id, said[AD_ID], said[TYPE], said.get(AT, change.at), said.get(REQUEST_ID),
                                     said.get(CONTEXT, {})))
            elif change.kind is Kind.FORGOTTEN:
                self._forgotten[change.id] = None
                self._users.pop(change.id, None)
                self._events = [event for event in self._events if event[0] != change.id]

    def window(self) -> Window:
        """The window of all entries so far."""
        events, labels = self._event_tables()
        ended = [ad_id for ad_id, fields in self._ads.items() if fields.get("status") == "deleted"]
        return Window(events=events, labels=labels,
                      ads=self._rows("item", self._ads, set(ended)), users=self._rows("user", self._users, set()),
                      ended=pa.table({"ad_id": pa.array(ended, pa.string())}),
                      forgotten=pa.table({"user_id": pa.array(list(self._forgotten), pa.string())}))

    def _event_tables(self) -> tuple[pa.Table, pa.Table]:
        """Events of the log, and labels."""
        first = EventType.IMPRESSION if self.spec.negatives == "impressions" else LABELS[0]
        tasks = [task.name for task in self.spec.tasks]
        rows: defaultdict[bool, list[dict[str, Any]]] = defaultdict(list)
        for user_id, ad_id, kind, at, request_id, context in self._events:
            if kind == first or kind in tasks:
                rows[kind == first].append({"user_id": user_id, "ad_id": ad_id, "timestamp": int(at),
                                            **{task: int(task == kind) for task in tasks},
                                            **{one.name: _value(context.get(one.name), one.kind)
                                               for one in self.spec.model_context}, REQUEST_ID: request_id})
        for one in self.spec.model_context:
            without = sum(row[one.name] is None for row in rows[True])
            if without:
                tell(f"warning: {without} of {len(rows[True])} {first}s name no {one.name} in their context, and "
                           "are learned as if it were unknown; send it with POST /events")
        return self._event_table(rows[True]), self._event_table(rows[False])

    def _event_table(self, rows: list[dict[str, Any]]) -> pa.Table:
        table = pa.Table.from_pylist(rows, window_schema(self.spec))
        if pa.types.is_timestamp(self._clock):
            seconds = table["timestamp"].cast(pa.timestamp("s", self._clock.tz))
            table = table.set_column(2, pa.field("timestamp", self._clock), seconds.cast(self._clock))
        return table

    def _rows(self, side: Side, states: Mapping[str, Mapping[str, Any]], without: set[str]) -> pa.Table:
        """Whole rows of the ads or users that have changed; what a state leaves open is as it was in the log."""
        extras = AD_EXTRAS if side == "item" else {}
        schema = side_schema(self.spec, side, extras)
        id_column, *columns = schema.names
        table = pq.read_table(self.log / (ADS if side == "item" else USERS))
        known = table.filter(pc.is_in(table[id_column], pa.array(list(states), pa.string()))).to_pylist()
        before = {row[id_column]: row for row in known}
        means = {name: None if at in self.spec.optional_columns(side) else float(np.mean(table[name].to_numpy()))
                 for at, name in enumerate(self.spec.fields(side, "dense"))}
        kinds = {one.name: one.kind for one in (self.spec.user_fields if side == "user" else self.spec.item_fields)}
        rows = []
        for key, fields in states.items():
            if key in without or ("features" not in fields and key not in before):
                continue
            row = dict(before.get(key, {}))
            if (features := fields.get("features")) is not None:
                row = {name: row.get(name) if name in extras else means.get(name) for name in columns}
                row |= {name: _value(value, kinds[name]) for name, value in features.items() if name in kinds}
            if "targeting" in fields and side == "item":
                row[TARGETING] = None if fields["targeting"] is None else json.dumps(fields["targeting"])
            if "bid" in fields and side == "item":
                bid = fields["bid"] or {}
                row[BID], row[BID_TYPE] = bid.get("micros"), bid.get("type")
            rows.append({name: row.get(name) for name in columns} | {id_column: key})
        return pa.Table.from_pylist(rows, schema)


def _value(value: Any, kind: FieldKind) -> Any:
    """A feature as the tables hold it."""
    if value is None:
        return None
    if kind == "multi":
        return [as_key(one, "value").decode() for one in value]
    return float(value) if kind == "dense" else as_key(value, "value").decode()
