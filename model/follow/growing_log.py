"""The log of a follower: a data folder for each window, made from the one before it and the window.

Ads that ended and users who are forgotten are left out, with their events. The log keeps as many events as the first
run was trained on: the oldest ones go as new ones come.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index_store.declaration.spec import FeatureSpec
from index_store.live.user_history import REQUEST_ID
from model.data.tables import (
    AD_EXTRAS,
    ADS,
    EVENTS,
    TEST_EVENTS,
    USERS,
    Side,
    filled,
    prepare,
    read_spec,
    seal,
    side_schema,
)
from model.data.windows import Window
from model.follow.attribution import attributed

TEST_SHARE = 0.1
"""Share of a window's events that its run is measured on; the run after it learns them."""


@dataclass(frozen=True)
class GrownLog:
    """The log after a window.

    Attributes:
        spec: of the log.
        users, ads: tables of everyone and everything that is left.
        older: events from before the window, whose labels may have come in it.
        new: events of the window.
    """

    spec: FeatureSpec
    users: pa.Table
    ads: pa.Table
    older: pa.Table
    new: pa.Table

    @classmethod
    def of(cls, log: Path, window: Window, most: int, attribution_window: float) -> GrownLog:
        """Adds a window to a log.

        Args:
            log: data folder in the types of the format.
            window: what came after it.
            most: events to keep.
            attribution_window: in seconds, see `attributed`.

        Raises:
            DataError: the log cannot be read.
        """
        spec = read_spec(log)
        ads = _replaced(_side(log, spec, "item"), window.ads, window.ended, "ad_id")
        users = _replaced(_side(log, spec, "user"), window.users, window.forgotten, "user_id")
        older = _without(_events(log), window.forgotten, "user_id")
        older, new = attributed(older, window.events.cast(older.schema), window.labels.cast(older.schema),
                                attribution_window)
        new = _of(new, "ad_id", ads)
        users = _with_unknown(users, spec, new["user_id"])
        older = _of(_of(older, "ad_id", ads), "user_id", users)
        return cls(spec, users, ads, _latest(older, max(0, most - len(new))), new)

    def write(self, folder: Path, train: pa.Table, test: pa.Table) -> None:
        """Writes a data folder with these users and ads, and the given events."""
        prepare(folder)
        pq.write_table(self.users, folder / USERS, write_page_checksum=True)
        pq.write_table(self.ads, folder / ADS, write_page_checksum=True)
        pq.write_table(train, folder / EVENTS, write_page_checksum=True)
        if len(test):
            pq.write_table(test, folder / TEST_EVENTS, write_page_checksum=True)
        seal(folder, self.spec)

    def split(self, window: int) -> tuple[pa.Table, pa.Table]:
        """The events to train on, the older ones among them, and those to measure on, by the number of the window."""
        test = np.random.default_rng([window, 15]).random(len(self.new)) < TEST_SHARE
        return pa.concat_tables([self.older, self.new.filter(pa.array(~test))]), self.new.filter(pa.array(test))


def _side(log: Path, spec: FeatureSpec, side: Side) -> pa.Table:
    """A table of the log; the ads always with all optional columns."""
    schema = side_schema(spec, side, AD_EXTRAS if side == "item" else ())
    table = filled(pq.read_table(log / (ADS if side == "item" else USERS)), schema.names)
    return table.select(schema.names).cast(schema)


def _events(log: Path) -> pa.Table:
    """All events of the log; those that the first run was trained on name no request."""
    table = pa.concat_tables([pq.read_table(log / name) for name in (EVENTS, TEST_EVENTS) if (log / name).exists()])
    if REQUEST_ID not in table.column_names:
        table = table.append_column(REQUEST_ID, pa.nulls(len(table), pa.string()))
    return table


def _without(table: pa.Table, gone: pa.Table, key: str) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table[key], gone[key].combine_chunks())))


def _of(events: pa.Table, key: str, side: pa.Table) -> pa.Table:
    """The events whose user or ad is there."""
    return events.filter(pc.is_in(events[key], side[key].combine_chunks()))


def _replaced(table: pa.Table, rows: pa.Table, gone: pa.Table, key: str) -> pa.Table:
    """The table with these rows in place of those of the same id, and without those that are gone."""
    kept = _without(_without(table, gone, key), rows, key)
    return pa.concat_tables([kept, rows.select(table.column_names).cast(table.schema)])


def _with_unknown(users: pa.Table, spec: FeatureSpec, ids: pa.ChunkedArray) -> pa.Table:
    """The users, and those of the ids that are not among them, without features.

    Dense fields that are not optional have the mean.
    """
    found = pc.unique(ids)
    new = found.filter(pc.invert(pc.is_in(found, users["user_id"].combine_chunks())))
    columns = [new]
    required = {field.name for field in spec.user_fields if field.kind == "dense" and not field.optional}
    for name in users.column_names[1:]:
        kind = users.schema.field(name).type
        mean = pc.mean(users[name]) if name in required else None
        columns.append(pa.nulls(len(new), kind) if mean is None else pa.repeat(mean.cast(kind), len(new)))
    return pa.concat_tables([users, pa.table(columns, schema=users.schema)])


def _latest(events: pa.Table, most: int) -> pa.Table:
    """The latest events in their order, `most` at most."""
    if len(events) <= most:
        return events
    times = events["timestamp"].cast(pa.int64()).to_numpy()
    return events.take(pa.array(np.sort(np.argsort(times, kind="stable")[len(events) - most:])))
