"""The log of a moving world: an ordinary data folder of the days before anything moves, and a window for every day.

    features.json, users.parquet, ads.parquet, truth/    the world before day 1
    events.parquet, test_events.parquet                  DAYS_BEFORE days, the last of them as test
    days/001/ ...                                        a window for each day (model/data/windows.py), with its truth

All of them are written day by day, each at once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index_store.declaration.spec import FieldSpec
from model.data.tables import ADS, EVENTS, TEST_EVENTS, USERS, DataError, prepare, seal
from model.data.windows import ENDED, day_folder, window_schema
from model.progress.bars import Bar
from model.sources.day_truth import write_day
from model.sources.domain_world import DOMAIN, MOST_DOMAINS, domain_text, with_domain
from model.sources.draws import Draws
from model.sources.moving_world import DAYS_BEFORE, SURFACES, MovingWorld, looked_at
from model.sources.synthetic import SPEC, ad_table, check_sizes, numbered, user_table
from model.sources.truth import TruthWriter

MOVING_SPEC = replace(SPEC, context_fields=(*SPEC.context_fields, FieldSpec("placement", "categorical")))

IGNORED = [("placement", pa.string()), ("position", pa.int8()), ("conversion_at", pa.int64())]
"""Columns of all event tables beside those of the format."""

MOST_DAYS = 999


def write(out: Path, ads: int, users: int, events: int, seed: int, days: int, turnover: float,
          domains: int = 0) -> None:
    """Writes a moving world.

    Args:
        out: data folder.
        ads: on every day.
        users: all of them.
        events: impressions before day 1; each day has a DAYS_BEFORE-th of them.
        seed: of all random numbers.
        days: from day 1.
        turnover: share of the ads that ends every day.
        domains: how many domains differ in what people like; 0 for a world without.

    Raises:
        DataError: a size cannot be used.
    """
    check_sizes(ads, users, events)
    if not 1 <= days <= MOST_DAYS:
        raise DataError(f"--days is {days}; give a number from 1 to {MOST_DAYS}")
    if not 0 <= turnover < 1:
        raise DataError(f"--turnover is {turnover:g}; give the share of ads that ends every day, at least 0 and below "
                        "1")
    if domains == 1 or not 0 <= domains <= MOST_DOMAINS:
        raise DataError(f"--domains is {domains}; give a number from 2 to {MOST_DOMAINS}")
    if events < DAYS_BEFORE:
        raise DataError(f"--events is {events}; a world that moves needs at least {DAYS_BEFORE}, one for each day "
                        "before the first")
    prepare(out)
    writer = _Writer(out, Draws(seed), MovingWorld(Draws(seed), ads, users, turnover, domains), days,
                     events // DAYS_BEFORE)
    with Bar(total=DAYS_BEFORE + days, desc="synthetic", unit="day") as bar:
        writer.before(bar)
        for day in range(1, days + 1):
            writer.day(day)
            bar.update()
    seal(out, writer.spec)


class _Writer:
    """Writes the tables of a world.

    Args:
        out: data folder.
        draws: of the fields that show the truth with noise.
        world: to write.
        days: that will be written.
        events: of each day.

    Attributes:
        spec: declares the tables.
    """

    def __init__(self, out: Path, draws: Draws, world: MovingWorld, days: int, events: int) -> None:
        self._out, self._draws, self._world, self._events_daily = out, draws, world, events
        self.spec = MOVING_SPEC if world.domains is None else with_domain(MOVING_SPEC)
        self._schema = pa.schema([*window_schema(self.spec), *IGNORED])
        self._most_requests = (DAYS_BEFORE + days) * events
        self._most_ads = len(world.active) + days * world.ends_daily
        self._user_ids = numbered("u", np.arange(len(world.people.age)), len(world.people.age))

    def before(self, bar: Bar) -> None:
        """Writes the ordinary data folder; its truth is that of the test day."""
        out, world = self._out, self._world
        self._write_ads(out, world.active)
        users = np.arange(len(self._user_ids))
        pq.write_table(user_table(self._draws, users, world.people, world.shape, self._user_ids), out / USERS,
                       write_page_checksum=True)
        with pq.ParquetWriter(out / EVENTS, self._schema, write_page_checksum=True) as log:
            for day in range(1 - DAYS_BEFORE, 0):
                log.write_table(self._events(day))
                bar.update()
        TruthWriter(out, world.ads, len(users), looked_at(), domains=world.domains).write(0, world.people)
        self._write_events(out / TEST_EVENTS, 0)
        bar.update()

    def day(self, day: int) -> None:
        """Writes the window of a day."""
        folder = day_folder(self._out, day)
        folder.mkdir(parents=True)
        move = self._world.move(day)
        self._write_ads(folder, move.born)
        pq.write_table(pa.table({"ad_id": self._ad_ids(move.ended)}), folder / ENDED, write_page_checksum=True)
        write_day(folder, self._world, move)
        self._write_events(folder / EVENTS, day)

    def _write_ads(self, folder: Path, rows: NDArray[np.int64]) -> None:
        table = ad_table(self._draws, rows, self._world.ads.take(rows), self._world.shape, self._ad_ids(rows))
        pq.write_table(table, folder / ADS, write_page_checksum=True)

    def _write_events(self, path: Path, day: int) -> None:
        pq.write_table(self._events(day), path, write_page_checksum=True)

    def _ad_ids(self, rows: NDArray[np.int64]) -> pa.Array:
        return numbered("a", rows, self._most_ads)

    def _events(self, day: int) -> pa.Table:
        log = self._world.impressions(day, self._events_daily)
        return pa.table({
            "user_id": self._user_ids.take(pa.array(log["user"])),
            "ad_id": self._ad_ids(log["ad"]),
            "timestamp": log["timestamp"],
            "click": log["click"].astype(np.int8),
            "conversion": log["conversion"].astype(np.int8),
            "request_id": numbered("r", log["request"], self._most_requests),
            "placement": pa.array(list(SURFACES)).take(pa.array(log["placement"])),
            "position": log["position"],
            "conversion_at": pa.array(log["conversion_at"], mask=~log["conversion"]),
            **({} if self._world.domains is None else {DOMAIN: domain_text(log["domain"])})}, schema=self._schema)
