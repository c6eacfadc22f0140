"""Your own log: a folder of Parquet tables and `features.json`, checked and converted to the format's types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.data.bids import read_bids
from model.data.checked_tables import EventTable, SideTable, open_events
from model.data.event_context import ContextValues
from model.data.tables import BID, BID_TYPE, EVENTS, TARGETING, TEST_EVENTS, DataError, prepare, read_spec, seal
from model.data.targeting import read_predicates
from model.progress.bars import Bar

BATCH = 1 << 20


def write(source: Path, out: Path) -> None:
    """Checks `users`, `ads`, `events` and, if there, `test_events` of the source folder, and writes them to `out`.

    An error leaves no usable data folder behind.

    Raises:
        DataError: the first thing that is wrong.
    """
    spec = read_spec(source)
    prepare(out)
    users, ads = SideTable.open(source, spec, "user"), SideTable.open(source, spec, "item")
    user_ids, ad_ids = _write_side(users, out), _write_side(ads, out)
    train, test = open_events(source, spec)
    context = ContextValues(spec)
    positives = _write_events(train, out / EVENTS, user_ids, ad_ids, context)
    context.check(source)
    if spec.negatives == "impressions" and positives == train.table.rows:
        raise DataError(f"{train.table.path}: each of its {positives} rows has a positive label, but features.json "
                        'says negatives "impressions", where rows without one are the negatives; declare "sampled", '
                        'or add the impressions without effect')
    if test is not None:
        _write_events(test, out / TEST_EVENTS, user_ids, ad_ids, ContextValues(spec))
    seal(out, spec)


def _write_side(side: SideTable, out: Path) -> pa.Array:
    """Writes one table and returns its ids."""
    columns: dict[str, pa.Array] = {}
    for field, column in Bar(side.columns(), total=len(side.schema), desc=side.table.path.name, unit="column"):
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)  # a missing value, where the field is optional
        columns[field.name] = column.cast(field.type)
    ids = next(iter(columns.values()))
    if TARGETING in columns:
        read_predicates(side.table.path, ids, columns[TARGETING], side.spec)
    read_bids(side.table, {name: columns[name] for name in (BID, BID_TYPE) if name in columns}, side.spec)
    pq.write_table(pa.table(columns, schema=side.schema), out / side.table.path.name, write_page_checksum=True)
    return ids


def _write_events(events: EventTable, path: Path, user_ids: pa.Array, ad_ids: pa.Array, context: ContextValues) -> int:
    """Writes one event table, a batch at a time, and returns the number of rows with a positive label.

    `context` learns the values of the fields that the model reads.
    """
    positives, schema = 0, events.schema
    with (pq.ParquetWriter(path, schema, write_page_checksum=True) as writer,
          Bar(total=events.table.rows, desc=path.name, unit="event", unit_scale=True) as bar):
        for batch in events.batches(user_ids, ad_ids, BATCH):
            writer.write_table(pa.table([batch.columns[f.name].cast(f.type) for f in schema], schema=schema))
            context.learn(batch.columns)
            positives += int(np.count_nonzero(batch.labels.any(axis=1)))
            bar.update(len(batch))
    return positives
