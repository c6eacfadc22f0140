"""A data folder as arrays: the encoder fitted on its tables, encoded users and items, and events as rows.

Works by column, so that millions of users and ads fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features
from index_store.features.ragged import Ragged
from index_store.features.vocabulary import standardised
from index_store.value.bids import AdBids
from model.data.bids import read_bids
from model.data.checked_tables import EventTable, SideTable, open_events
from model.data.event_context import ContextValues
from model.data.label_windows import LabelWindows, delays_of
from model.data.tables import BID, BID_TYPE, TARGETING, Side, read_spec
from model.data.targeting import AdPredicates, read_predicates

EVENT_BATCH = 1 << 22
"""Events that are held as text at a time; as arrays they take a tenth of it."""


@dataclass(frozen=True)
class Events:
    """A log as arrays, sorted by user row, then timestamp, then order in the file.

    Attributes:
        users: (N,) int32 user rows.
        items: (N,) int32 item rows.
        timestamps: (N,) int64, in the log's own unit; train and test events share it.
        labels: (N, T) int8 of 0 and 1, one column a task.
        context: (N, C) int32 ids, one column a context field that the model reads; None if it reads none.
        delays: (N, D) int64, after which time the label of each delayed task came, NEVER where none did; None if no
            task has windows.
        late: (D,) numbers of the delayed tasks.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    timestamps: NDArray[np.int64]
    labels: NDArray[np.int8]
    context: NDArray[np.int32] | None = None
    delays: NDArray[np.int64] | None = None
    late: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.users)

    def where(self, chosen: NDArray[np.bool_]) -> Events:
        """The chosen events (N,), in their order."""
        return Events(self.users[chosen], self.items[chosen], self.timestamps[chosen], self.labels[chosen],
                      None if self.context is None else self.context[chosen],
                      None if self.delays is None else self.delays[chosen], self.late)


def joined(train_events: Events, test_events: Events) -> Events:
    """Both logs as one, by user and time."""
    users, times = (np.concatenate([getattr(e, name) for e in (train_events, test_events)])
                    for name in ("users", "timestamps"))
    order = np.lexsort((times, users))
    items, labels = (np.concatenate([getattr(e, name) for e in (train_events, test_events)])[order]
                     for name in ("items", "labels"))
    context = delays = None
    if train_events.context is not None and test_events.context is not None:
        context = np.concatenate([train_events.context, test_events.context])[order]
    if train_events.delays is not None and test_events.delays is not None:
        delays = np.concatenate([train_events.delays, test_events.delays])[order]
    return Events(users[order], items, times[order], labels, context, delays, train_events.late)


@dataclass(frozen=True)
class Dataset:
    """A data folder in memory.

    Attributes:
        spec: its declaration.
        encoder: fitted on its user and ad tables; `encoder.item_ids` gives the order of the item rows.
        user_ids: (U,) sorted bytes; a user's row is its index.
        users, items: encoded features, in row order.
        train: the log.
        test: held-out events, if the folder has them.
        targeting: predicates of the ads, if any has one.
        bids: of the ads, in row order, if any has one.
        windows: of the tasks whose labels come late, if there are such. Labels of train events are then those that were
            known at the time of the last one, those of test events whether they came within the longest window.
    """

    spec: FeatureSpec
    encoder: FeatureEncoder
    user_ids: NDArray[np.bytes_]
    users: Features
    items: Features
    train: Events
    test: Events | None
    targeting: AdPredicates | None = None
    bids: AdBids | None = None
    windows: LabelWindows | None = None


def load_dataset(folder: Path) -> Dataset:
    """Reads and checks a data folder.

    Raises:
        DataError: a file, column or value does not fit the format.
    """
    spec = read_spec(folder)
    users = _load_side(SideTable.open(folder, spec, "user"), "user")
    items = _load_side(SideTable.open(folder, spec, "item"), "item")
    values = ContextValues(spec)
    train_table, test_table = open_events(folder, spec)
    train = _load_events(train_table, users.ids, items.ids, values, learn=True)
    values.check(folder)
    test = None if test_table is None else _load_events(test_table, users.ids, items.ids, values, learn=False)
    windows = LabelWindows.of(spec, train_table.schema.field("timestamp").type, int(train.timestamps.max()))
    if windows is not None:
        train = replace(train, labels=windows.known(train.labels, train.timestamps, train.delays))
        if test is not None:
            test = replace(test, labels=windows.final(test.labels, test.delays))
    of_context = {f"context.{field.name}": as_bytes(found)
                  for field, found in zip(spec.model_context, values.values, strict=True)}
    encoder = FeatureEncoder(spec, users.vocabularies | items.vocabularies | of_context, users.scales | items.scales,
                             as_bytes(items.ids))
    return Dataset(spec, encoder, as_bytes(users.ids), users.features, items.features, train, test, items.targeting,
                   items.bids, windows)


def _load_events(events: EventTable, user_ids: pa.Array, item_ids: pa.Array, values: ContextValues, *,
                 learn: bool) -> Events:
    """Reads one event table.

    Args:
        events: to read.
        user_ids, item_ids: sorted string arrays, in row order.
        values: of the context.
        learn: whether the values of this table are taken in; otherwise those that are new are unknown.
    """
    n, start = events.table.rows, 0
    users, items = np.empty(n, np.int32), np.empty(n, np.int32)
    timestamps, labels = np.empty(n, np.int64), np.empty((n, len(events.spec.tasks)), np.int8)
    context = np.empty((n, len(events.spec.model_context)), np.int32)
    late = {at: task.time for at, task in enumerate(events.spec.tasks) if task.windows}
    delays = np.empty((n, len(late)), np.int64)
    for batch in events.batches(user_ids, item_ids, EVENT_BATCH):
        stop = start + len(batch)
        users[start:stop], items[start:stop], labels[start:stop] = batch.users, batch.items, batch.labels
        timestamps[start:stop] = batch.columns["timestamp"].cast(pa.int64()).to_numpy()
        context[start:stop] = values.learn(batch.columns) if learn else values.ids(batch.columns)
        for at, name in enumerate(late.values()):
            delays[start:stop, at] = delays_of(batch.columns[name], timestamps[start:stop])
        start = stop
    if learn:
        context = values.sort(context)
    if np.any((np.diff(users) < 0) | ((np.diff(users) == 0) & (np.diff(timestamps) < 0))):
        order = np.lexsort((timestamps, users))
        users, items, timestamps, labels = users[order], items[order], timestamps[order], labels[order]
        context, delays = context[order], delays[order]
    return Events(users, items, timestamps, labels, context if context.shape[1] else None, delays if late else None,
                  tuple(late))


def as_bytes(keys: pa.Array) -> NDArray[np.bytes_]:
    """A string array without nulls as fixed-width bytes (N,), without a Python object per value."""
    binary = keys.cast(pa.large_binary())
    _, offsets, data = binary.buffers()
    ends = np.frombuffer(offsets, np.int64)[binary.offset : binary.offset + len(binary) + 1]
    lengths = np.diff(ends)
    width = max(1, int(lengths.max(initial=0)))
    table = np.zeros((len(binary), width), np.uint8)
    if data is not None:
        table[np.arange(width) < lengths[:, None]] = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    keyed: NDArray[np.bytes_] = table.view(f"S{width}").ravel()
    return keyed


@dataclass
class _Side:
    """Users or ads of a folder: sorted ids, encoded features, fitted vocabularies and scales."""

    ids: pa.Array
    features: Features
    vocabularies: dict[str, NDArray[np.bytes_]]
    scales: dict[str, tuple[float, float]]
    targeting: AdPredicates | None
    bids: AdBids | None


def _load_side(table: SideTable, side: Side) -> _Side:
    """Reads, checks and encodes one table."""
    columns = table.columns()
    _, ids = next(columns)
    order = pc.array_sort_indices(ids.cast(pa.binary()))
    ids = ids.take(order)
    spec, targeting = table.spec, None
    vocabularies: dict[str, NDArray[np.bytes_]] = {}
    scales: dict[str, tuple[float, float]] = {}
    dense_names, categorical_names = spec.fields(side, "dense"), spec.fields(side, "categorical")
    dense = np.empty((len(ids), len(dense_names)), np.float32)
    categorical = np.empty((len(ids), len(categorical_names)), np.int32)
    multi = {}
    offered = {}
    for field, column in columns:
        name, sorted_column = f"{side}.{field.name}", column.take(order)
        if field.name in dense_names:
            raw = sorted_column.to_numpy(zero_copy_only=False)
            scales[name], dense[:, dense_names.index(field.name)] = _standardise(raw)
        elif field.name in categorical_names:
            at = categorical_names.index(field.name)
            vocabularies[name], categorical[:, at] = _fit_vocabulary(sorted_column)
        elif field.name in (BID, BID_TYPE):
            offered[field.name] = column
        elif field.name == TARGETING:
            targeting = read_predicates(table.table.path, ids, sorted_column, spec)
        else:
            vocabularies[name], values = _fit_vocabulary(pc.list_flatten(sorted_column))
            lengths = pc.fill_null(pc.list_value_length(sorted_column), 0).to_numpy()
            multi[field.name] = Ragged.of_lengths(lengths, values)
    features = Features(dense, categorical, tuple(multi[name] for name in spec.fields(side, "multi")))
    bids = read_bids(table.table, offered, spec)
    if bids is not None:
        bids = AdBids(bids.micros[order.to_numpy()], bids.types[order.to_numpy()])
    return _Side(ids, features, vocabularies, scales, targeting, bids)


def _standardise(raw: NDArray[np.float64]) -> tuple[tuple[float, float], NDArray[np.float32]]:
    """Mean and deviation of a dense field, 1 where it is constant, and its standardised values; NaN where missing."""
    known = raw[~np.isnan(raw)]
    mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
    scale = mean, deviation if deviation > 0 else 1.0
    return scale, standardised(raw, scale)


def _fit_vocabulary(keys: pa.Array) -> tuple[NDArray[np.bytes_], NDArray[np.int32]]:
    """Sorted distinct values (V,), and the id of each key: index + 1, UNKNOWN for null."""
    distinct = pc.unique(keys).drop_null()
    distinct = distinct.take(pc.array_sort_indices(distinct.cast(pa.binary())))
    found = pc.index_in(keys, value_set=distinct)
    return as_bytes(distinct), pc.fill_null(pc.add(found, 1), UNKNOWN).to_numpy().astype(np.int32, copy=False)
