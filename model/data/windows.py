"""Windows: what a log gained in some time, one folder a window, read by the `features.json` of the log.

    events.parquet      the impressions of the window, with the columns of a log and `request_id`, null if unknown
    labels.parquet      clicks and conversions that are still to be joined to their impressions, one a row, with the
                        same columns
    ads.parquet         ads that are new or have changed, with the columns of a log
    users.parquet       users likewise
    ended.parquet       `ad_id` of ads that ended
    forgotten.parquet   `user_id` of users of whom nothing that is older than the window may be kept

Tables without rows may be missing, all but the events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from index_store.declaration.spec import FeatureSpec
from index_store.live.user_history import REQUEST_ID
from model.data.tables import AD_EXTRAS, DAYS, DataError, event_schema, filled, side_schema

ENDED = "ended.parquet"


@dataclass(frozen=True, kw_only=True)
class Window:
    """The tables of a window; timestamps have the type of the log."""

    events: pa.Table
    labels: pa.Table
    ads: pa.Table
    users: pa.Table
    ended: pa.Table
    forgotten: pa.Table

    @classmethod
    def read(cls, folder: Path, spec: FeatureSpec) -> Window:
        """Reads a window.

        Raises:
            DataError: a table cannot be read, or lacks a column.
        """
        empty = {"events": None, "labels": window_schema(spec), "ads": side_schema(spec, "item", AD_EXTRAS),
                 "users": side_schema(spec, "user"), "ended": pa.schema([("ad_id", pa.string())]),
                 "forgotten": pa.schema([("user_id", pa.string())])}
        names = {"events": window_schema(spec).names}
        return cls(**{name: _read(folder / f"{name}.parquet", schema, schema.names if schema else names[name])
                      for name, schema in empty.items()})

    def write(self, folder: Path) -> None:
        """Writes a window into a folder that exists."""
        for field in fields(self):
            table = getattr(self, field.name)
            if len(table) or field.name == "events":
                pq.write_table(table, folder / f"{field.name}.parquet", write_page_checksum=True)


def _read(path: Path, empty: pa.Schema | None, columns: list[str]) -> pa.Table:
    if empty is not None and not path.exists():
        return empty.empty_table()
    try:
        return filled(pq.read_table(path), columns).select(columns)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({error}); write the window again") from error


def window_schema(spec: FeatureSpec) -> pa.Schema:
    """Columns of the events of a window: those of a log, then the request whose answer they belong to."""
    return event_schema(spec).append(pa.field(REQUEST_ID, pa.string()))


def day_folder(folder: Path, day: int) -> Path:
    """The window of a day, from 1, of the moving world in a data folder."""
    return folder / DAYS / f"{day:03d}"
