"""Windows of a moving world: a day each, with the conversions that were known by its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.data.tables import EVENTS, read_spec
from model.data.windows import Window, day_folder, window_schema
from model.follow.log_windows import NextWindow
from model.sources.moving_world import DAY_SECONDS, DAYS_BEFORE
from model.sources.synthetic import FIRST_SECOND


@dataclass(frozen=True)
class WorldWindows:
    """The days of a world in place of a change log; the number of a day is its last entry.

    Attributes:
        folder: data folder of the world.
    """

    folder: Path

    def next(self, after: int, since: float, log: Path) -> NextWindow | None:
        """The day after a day, None after the last; arguments as for LogWindows."""
        day = day_folder(self.folder, after + 1)
        if not day.is_dir():
            return None
        spec = read_spec(self.folder)
        end = FIRST_SECOND + (DAYS_BEFORE + after + 1) * DAY_SECONDS
        names = window_schema(spec).names
        days = [pq.read_table(day_folder(self.folder, number) / EVENTS) for number in range(1, after + 2)]
        known = pc.fill_null(pc.less(days[-1]["conversion_at"], end), False)
        events = days[-1].set_column(names.index("conversion"), "conversion", known.cast(pa.int8()))
        earlier = pa.concat_tables([table.slice(0, 0) if table is days[-1] else table for table in days])
        came = earlier.filter(pc.and_(pc.greater_equal(earlier["conversion_at"], end - DAY_SECONDS),
                                      pc.less(earlier["conversion_at"], end)))
        late = came.set_column(names.index("timestamp"), "timestamp", came["conversion_at"])
        late = late.set_column(names.index("click"), "click", pa.array(np.zeros(len(late), np.int8)))
        window = Window.read(day, spec)
        return NextWindow(window=replace(window, events=events.select(names), labels=late.select(names)),
                          sequence=after + 1, ended_at=float(end))
