"""A teacher's labels of the log's own impressions, beside their true ones (ExFM), read from files with timestamps.

Such a file belongs to no log: a run takes the labels of the events that its log has. So a stream keeps a folder with a
file for each day, written as the day's impressions came, and files may name users and ads that are gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.features.vocabulary import look_up
from model.config.errors import ConfigError
from model.data.checked_tables import open_events
from model.data.clocks import per_second
from model.data.load import Dataset, Events, as_bytes
from model.data.parquet_table import ParquetTable, common_clock
from model.data.tables import DataError
from model.objective.losses import impression_loss
from model.objective.soft_labels import probabilities, soft_label_schema
from model.progress.lines import tell


@dataclass(frozen=True)
class EventLabels:
    """A teacher's labels of N train events.

    Attributes:
        values: (N, tasks) float32 probabilities, NaN where an event has none.
    """

    values: NDArray[np.float32]

    def mixed(self, labels: Tensor, events: NDArray[np.integer]) -> Tensor:
        """The mean of the true labels (S, tasks) of a batch's events (S,) and the teacher's, where it has any."""
        taught = torch.from_numpy(self.values[events]).to(labels.device)
        return torch.where(taught.isnan(), labels, (labels + taught) / 2)

    def loss(self, logits: Tensor, events: NDArray[np.integer], task_weights: Tensor) -> Tensor:
        """Cross-entropy of the auxiliary head on a batch: the sum over labelled events by the number of all.

        Args:
            logits: (S, tasks).
            events: (S,) which ones.
            task_weights: (tasks,).
        """
        found = self.values[events]
        labeled = ~np.isnan(found[:, 0])
        if not labeled.any():
            return logits.sum() * 0
        chosen = torch.from_numpy(np.flatnonzero(labeled)).to(logits.device)
        own = torch.from_numpy(found[labeled]).to(logits.device)
        return impression_loss(logits[chosen], own, task_weights) * float(labeled.mean())


def read_event_labels(path: Path, dataset: Dataset, data: Path) -> EventLabels:
    """Reads a Parquet file, or a folder of them, with `user_id`, `ad_id`, `timestamp` and a column for each task.

    One line says how many events have a label and until when, unless all have one.

    Args:
        path: of the file.
        dataset: the log; labels are looked up for its train events.
        data: its folder, which the timestamps are compared with.

    Raises:
        ConfigError: the log is one of positives.
        DataError: the file or a column is missing, a value is not a probability, timestamps cannot be compared, or no
            event has a label.
    """
    if dataset.spec.negatives == "sampled":
        raise ConfigError(f"{path} has timestamps, so it labels impressions, but {data} is a log of positives; leave "
                          "out the column, and its rows label pairs of a user and an ad")
    table = ParquetTable(path, soft_label_schema(dataset.spec, pa.int64()).names)
    values = probabilities(table, dataset.spec)
    own, _ = open_events(data, dataset.spec)
    log_clock = own.schema.field("timestamp").type
    clock = common_clock([own.table, table])
    times = table.column(pa.field("timestamp", clock)).cast(pa.int64()).to_numpy()
    events, finer = dataset.train, per_second(clock) // per_second(log_clock)
    log = events.timestamps * finer
    users, items = (look_up(known, as_bytes(table.column(pa.field(name, pa.string()))))
                    for name, known in (("user_id", dataset.user_ids), ("ad_id", dataset.encoder.item_ids)))
    row = _rows_of(events, log, users, items, times)
    told = f"reaches from {time_text(times.min(), clock)} to {time_text(times.max(), clock)}"
    of_log = f"from {time_text(log.min(), clock)} to {time_text(log.max(), clock)}"
    labeled = row >= 0
    if not labeled.any():
        raise DataError(f"{path} labels none of the train events of {data}: it {told}, the log {of_log}; give labels "
                        "of these impressions")
    if not labeled.all():
        tell(f"{path} {told}, the log {of_log}: {int(labeled.sum()):,} of {len(log):,} events have a label of the "
             "teacher, the others are learned without")
    found = values[row]
    found[~labeled] = np.nan
    return EventLabels(found)


def _rows_of(events: Events, log: NDArray[np.int64], users: NDArray[np.int64], items: NDArray[np.int64],
             times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row (N,) that labels each event, the first of several, -1 for none.

    Args:
        events: (N,) of the log.
        log: (N,) their timestamps.
        users, items: (M,) rows of the users and ads that a file names, -1 for one that the log lacks.
        times: (M,) its timestamps.
    """
    known = np.flatnonzero((users >= 0) & (items >= 0))
    columns = [np.concatenate(parts) for parts in (
        (times[known], log), (items[known], events.items), (users[known], events.users))]
    order = np.lexsort(columns)  # stable, so that the rows of a file come before the event that they label
    changed = np.ones(len(order), bool)
    changed[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    first = order[changed]
    label = np.append(known, -1)[np.where(first < len(known), first, -1)]
    found = np.empty(len(order), np.int64)
    found[order] = label[np.cumsum(changed) - 1]
    return found[len(known):]


def time_text(time: int, clock: pa.DataType) -> str:
    """A time of a log as text: a date if its clock tells dates, else the number."""
    if not pa.types.is_timestamp(clock):
        return str(time)
    return str(np.datetime64(int(time), clock.unit).astype("datetime64[s]"))
