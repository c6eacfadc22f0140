"""`python -m model label`: what a teacher predicts of the impressions that came after it, as labels for its students.

The teacher is a run, often days old; its weights stay, while histories and counts are those before each impression, as
a service would have answered with it. It labels no event that it may have learned, since it knows those by heart.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.config.errors import ConfigError

if TYPE_CHECKING:
    from model.data.checked_tables import EventTable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--run", type=Path, required=True, help="the teacher: a run on an older log of the same fields")
    parser.add_argument("--data", type=Path, required=True,
                        help="log whose impressions it labels, train and test events, those after its own last one")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="Parquet file to write, for `train --teacher-file`; or a new file in the folder that is "
                             "named there, with the labels of other days")


def run(args: argparse.Namespace) -> None:
    """Writes the labels.

    Raises:
        ConfigError: the run cannot label the log, or the file is there already.
        DataError: the log, or that of the run, cannot be read.
    """
    if args.out.exists():
        raise ConfigError(f"{args.out} is there already; name a new file")
    table = labels_of(args.run, args.data)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_name(f".{args.out.name}.partial")
    pq.write_table(table, partial, write_page_checksum=True)
    os.replace(partial, args.out)
    print(f"wrote {args.out}: labels of {len(table):,} impressions")


def labels_of(run: Path, data: Path) -> pa.Table:
    """The labels of the impressions of a log that came after the last event that a run was trained on.

    Args:
        run: the teacher.
        data: folder of the log.

    Returns:
        Columns of `soft_label_schema`, with the log's clock.

    Raises:
        ConfigError: the folder holds no run, one of other fields, or one that has learned every event of the log; or
            the log is one of positives.
        DataError: the log, or that of the run, cannot be read.
    """
    # Imported here: torch takes a second to load, and help needs none of it.
    from model.data.checked_tables import open_events
    from model.data.load import joined, load_dataset
    from model.examples.clicks import Clicks
    from model.follow.progress import as_served
    from model.objective.event_labels import time_text
    from model.objective.soft_labels import soft_label_schema
    from model.runs.checkpoint import RunFolder
    from model.training.normalized_entropy import impression_logits

    dataset = load_dataset(data)
    spec = dataset.spec
    if spec.negatives == "sampled":
        raise ConfigError(f"{data} is a log of positives, which has no impressions to label; its students learn from "
                          "unlabelled pairs, by --teacher")
    table = open_events(data, spec)[0]
    clock = table.schema.field("timestamp").type
    learned = _last_event(RunFolder(run).config()[1], table)
    events = dataset.train if dataset.test is None else joined(dataset.train, dataset.test)
    newer = events.timestamps > learned
    if not newer.any():
        raise ConfigError(f"{run} was trained on events up to {time_text(learned, clock)}, and {data} ends with "
                          f"{time_text(int(events.timestamps.max()), clock)}, so it has learned them all; name an "
                          "older run, or a newer log")
    older, own = events.where(~newer), events.where(newer)
    with (tempfile.TemporaryDirectory() as folder,
          as_served(run, data, Path(folder) / "served", replace(dataset, train=older, test=own)) as served):
        clicks = Clicks.of(events, len(dataset.user_ids))
        logits = impression_logits(served.reader, clicks, served.key_index, own).astype(np.float64)
    values = (1 / (1 + np.exp(-logits))).astype(np.float32)
    columns = [pa.array(dataset.user_ids[own.users]).cast(pa.string()),
               pa.array(dataset.encoder.item_ids[own.items]).cast(pa.string()),
               pa.array(own.timestamps).cast(clock), *(pa.array(column) for column in values.T)]
    return pa.table(columns, schema=soft_label_schema(spec, clock))


def _last_event(data: Path, newer: EventTable) -> int:
    """Time of the last train event of a log, by the clock of a newer one."""
    from model.data.checked_tables import open_events
    from model.data.parquet_table import common_clock
    from model.data.tables import read_spec

    events = open_events(data, read_spec(data))[0]
    common_clock([newer.table, events.table])  # which tells if the two cannot be compared
    times = events.table.column(newer.schema.field("timestamp"))
    return int(pc.max(times.cast(pa.int64())).as_py())
