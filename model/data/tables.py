"""The table format of a data folder: file names, column types, and how a source writes them.

`checks.py` checks the values, `checked_tables.py` reads them, `load.py` turns a folder into arrays.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from index_store.declaration.spec import FeatureSpec, Kind
from index_store.declaration.values import FeatureError

SPEC = "features.json"
USERS = "users.parquet"
ADS = "ads.parquet"
EVENTS = "events.parquet"
TEST_EVENTS = "test_events.parquet"
TRUTH = "truth"
CAMPAIGNS = "campaigns.parquet"
"""Budgets of the campaigns, where a source knows them."""
BASELINE = "baseline.json"
DAYS = "days"
"""Folder of a moving world that holds the windows of its days."""

TARGETING, BID, BID_TYPE = "targeting", "bid", "bid_type"
AD_EXTRAS: dict[str, pa.DataType] = {TARGETING: pa.string(), BID: pa.int64(), BID_TYPE: pa.string()}
"""Optional columns of `ads.parquet`: a predicate as JSON or null; a bid in micros and its type, both null for none."""

Side = Literal["user", "item"]

ID_COLUMN: dict[Side, str] = {"user": "user_id", "item": "ad_id"}
TABLE: dict[Side, str] = {"user": USERS, "item": ADS}

ARROW_TYPE: dict[Kind, pa.DataType] = {"dense": pa.float32(), "categorical": pa.string(),
                                       "multi": pa.list_(pa.string())}


class DataError(ValueError):
    """Data that cannot be used. The message names file, column, row and value, and says what to do."""


def side_schema(spec: FeatureSpec, side: Side, extras: Collection[str] = ()) -> pa.Schema:
    """Columns of `users.parquet` or `ads.parquet`: the id, then the fields in declaration order, and some AD_EXTRAS."""
    fields = spec.user_fields if side == "user" else spec.item_fields
    return pa.schema([(ID_COLUMN[side], pa.string()), *((f.name, ARROW_TYPE[f.kind]) for f in fields),
                      *((name, kind) for name, kind in AD_EXTRAS.items() if name in extras)])


def filled(table: pa.Table, names: Collection[str]) -> pa.Table:
    """A table with those of AD_EXTRAS that are among some names; nulls where it lacked one."""
    for name, kind in AD_EXTRAS.items():
        if name in names and name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    return table


def event_schema(spec: FeatureSpec, clock: pa.DataType | None = None) -> pa.Schema:
    """Columns of `events.parquet` and `test_events.parquet`; `clock` is the type of their timestamps, else int64."""
    return pa.schema([("user_id", pa.string()), ("ad_id", pa.string()), ("timestamp", clock or pa.int64()),
                      *((task.name, pa.int8()) for task in spec.tasks),
                      *((field.name, pa.string()) for field in spec.model_context),
                      *((task.time, clock or pa.int64()) for task in spec.tasks if task.windows)])


def read_spec(folder: Path) -> FeatureSpec:
    """The declaration of a data folder.

    Raises:
        DataError: there is none, it is not JSON, or it is not a FeatureSpec.
    """
    path = folder / SPEC
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a folder that `python -m model data` wrote, or add the "
                        "declaration of your fields (docs/data.md)")
    try:
        return FeatureSpec.from_json(json.loads(path.read_text()))
    except FeatureError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} declares no fields: {error}; see docs/data.md for an example") from error


def prepare(folder: Path) -> None:
    """Creates the folder and removes earlier data, so that no file of another source stays behind.

    Raises:
        DataError: a table in it is a folder of part files, which none of these commands wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = (SPEC, USERS, ADS, EVENTS, TEST_EVENTS, BASELINE, CAMPAIGNS)  # without features.json this is no data
    for name in names:
        if (folder / name).is_dir():
            raise DataError(f"{folder / name} is a folder, and would be replaced by a file; name another --out")
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for name in (TRUTH, DAYS):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def seal(folder: Path, spec: FeatureSpec) -> None:
    """Writes `features.json` last: a folder without it, left by an interrupted run, is not a data folder."""
    (folder / SPEC).write_text(json.dumps(spec.to_json(), indent=1, allow_nan=False) + "\n")


def write_parts(path: Path, parts: Iterable[pa.Table], column: str) -> pa.Array:
    """Writes a table that comes in parts, at least one, and returns one of its columns."""
    found, writer = [], None
    for part in parts:
        writer = writer or pq.ParquetWriter(path, part.schema, write_page_checksum=True)
        writer.write_table(part)
        found.append(part[column].combine_chunks())
    if writer is not None:
        writer.close()
    return pa.concat_arrays(found)


def write_folder(folder: Path, spec: FeatureSpec, users: pa.Table, ads: pa.Table, events: pa.Table,
                 test_events: pa.Table | None = None, baseline: Mapping[str, object] | None = None) -> None:
    """Writes a source that fits in memory. Columns are taken by name and cast to the format's types.

    Args:
        baseline: figures to be printed beside every result on this data.
    """
    prepare(folder)
    pq.write_table(users.select(side_schema(spec, "user").names).cast(side_schema(spec, "user")), folder / USERS,
                   write_page_checksum=True)
    of_ads = side_schema(spec, "item", ads.column_names)
    pq.write_table(ads.select(of_ads.names).cast(of_ads), folder / ADS, write_page_checksum=True)
    for name, table in ((EVENTS, events), (TEST_EVENTS, test_events)):
        if table is not None:
            pq.write_table(table.select(event_schema(spec).names).cast(event_schema(spec)), folder / name,
                           write_page_checksum=True)
    if baseline is not None:
        (folder / BASELINE).write_text(json.dumps(baseline, indent=1, allow_nan=False) + "\n")
    seal(folder, spec)
