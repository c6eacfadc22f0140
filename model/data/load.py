"""A data folder as arrays: the encoder fitted on its tables, encoded users and items, and events as rows.

Every value is checked on the way (`checks.py`). Works by column, so that millions of users and ads fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features, FeatureSpec
from index_store.features.ragged import Ragged
from index_store.features.values import standardised
from model.data.checks import (
    check_dense,
    check_keys,
    check_labels,
    check_lists,
    check_numbers,
    check_unique,
    open_table,
    refuse,
)
from model.data.tables import (
    ADS,
    ARROW_TYPE,
    EVENTS,
    ID_COLUMN,
    TABLE,
    TEST_EVENTS,
    USERS,
    DataError,
    Side,
    event_schema,
    read_spec,
    side_schema,
)
from model.data.targeting import AdPredicates, load_predicates

EVENT_BATCH = 1 << 22
"""Events that are held as text at a time; as arrays they take a tenth of it."""


@dataclass(frozen=True)
class Events:
    """A log as arrays, sorted by user row, then timestamp, then order in the file.

    Attributes:
        users: (N,) int32 user rows.
        items: (N,) int32 item rows.
        timestamps: (N,) int64, in the log's unit.
        labels: (N, T) int8 of 0 and 1, one column a task.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    timestamps: NDArray[np.int64]
    labels: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.users)

    def where(self, chosen: NDArray[np.bool_]) -> Events:
        """The chosen events (N,), in their order."""
        return Events(self.users[chosen], self.items[chosen], self.timestamps[chosen], self.labels[chosen])


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
    """

    spec: FeatureSpec
    encoder: FeatureEncoder
    user_ids: NDArray[np.bytes_]
    users: Features
    items: Features
    train: Events
    test: Events | None
    targeting: AdPredicates | None = None


def load_dataset(folder: Path) -> Dataset:
    """Reads and checks a data folder.

    Raises:
        DataError: a file, column or value is not what the format wants.
    """
    spec = read_spec(folder)
    vocabularies: dict[str, NDArray[np.bytes_]] = {}
    scales: dict[str, tuple[float, float]] = {}
    user_ids, users = _load_side(folder, spec, "user", vocabularies, scales)
    item_ids, items = _load_side(folder, spec, "item", vocabularies, scales)
    train = load_events(folder / EVENTS, spec, user_ids, item_ids)
    has_test = (folder / TEST_EVENTS).exists()
    test = load_events(folder / TEST_EVENTS, spec, user_ids, item_ids) if has_test else None
    encoder = FeatureEncoder(spec, vocabularies, scales, as_bytes(item_ids))
    return Dataset(spec, encoder, as_bytes(user_ids), users, items, train, test, load_predicates(folder / ADS, spec))


def load_events(path: Path, spec: FeatureSpec, user_ids: pa.Array, item_ids: pa.Array) -> Events:
    """Reads one event file.

    Args:
        user_ids, item_ids: sorted string arrays; the index of an id is its row.

    Raises:
        DataError: see `load_dataset`.
    """
    file = open_table(path, event_schema(spec))
    n = file.metadata.num_rows
    if not n:
        raise DataError(f"{path} holds no event; a log needs at least one")
    users, items = np.empty(n, np.int32), np.empty(n, np.int32)
    timestamps, labels = np.empty(n, np.int64), np.empty((n, len(spec.tasks)), np.int8)
    start = 0
    for batch in file.iter_batches(EVENT_BATCH, columns=event_schema(spec).names):
        stop = start + len(batch)
        users[start:stop] = rows_of(path, "user_id", batch.column("user_id"), user_ids, USERS, start)
        items[start:stop] = rows_of(path, "ad_id", batch.column("ad_id"), item_ids, ADS, start)
        for name in ("timestamp", *(task.name for task in spec.tasks)):
            check_numbers(path, name, batch.column(name), start)
        timestamps[start:stop] = batch.column("timestamp").to_numpy()
        for column, task in enumerate(spec.tasks):
            labels[start:stop, column] = batch.column(task.name).to_numpy()
        check_labels(path, spec, labels[start:stop], start)
        start = stop
    if np.any((np.diff(users) < 0) | ((np.diff(users) == 0) & (np.diff(timestamps) < 0))):
        order = np.lexsort((timestamps, users))
        users, items, timestamps, labels = users[order], items[order], timestamps[order], labels[order]
    return Events(users, items, timestamps, labels)


def rows_of(path: Path, column: str, keys: pa.Array, ids: pa.Array, table: str, first_row: int) -> NDArray[np.int32]:
    """Row of each id in a table's sorted ids.

    Raises:
        DataError: an id is not in the table.
    """
    rows = pc.index_in(_text(keys), value_set=ids)
    if rows.null_count:
        at = int(np.argmax(rows.is_null().to_numpy(zero_copy_only=False)))
        refuse(path, column, first_row + at, keys[at].as_py(), f"is not in {table}",
               "add its row there or drop this one")
    found: NDArray[np.int32] = rows.to_numpy()
    return found


def as_bytes(keys: pa.Array) -> NDArray[np.bytes_]:
    """A string array without nulls as fixed-width bytes (N,), without a Python object a value."""
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


def _load_side(folder: Path, spec: FeatureSpec, side: Side, vocabularies: dict[str, NDArray[np.bytes_]],
               scales: dict[str, tuple[float, float]]) -> tuple[pa.Array, Features]:
    """Sorted ids and encoded features of one table; adds what was fitted to `vocabularies` and `scales`."""
    path = folder / TABLE[side]
    file = open_table(path, side_schema(spec, side))
    ids = _column(file, ID_COLUMN[side], pa.string())
    if not len(ids):
        raise DataError(f"{path} holds no row; at least one is needed")
    check_keys(path, ID_COLUMN[side], ids, nullable=False)
    check_unique(path, ID_COLUMN[side], ids)
    order = pc.array_sort_indices(ids.cast(pa.binary()))
    dense = np.empty((len(ids), len(spec.fields(side, "dense"))), np.float32)
    categorical = np.empty((len(ids), len(spec.fields(side, "categorical"))), np.int32)
    multi = []
    for at, name in enumerate(spec.fields(side, "dense")):
        values = _column(file, name, pa.float64())
        check_dense(path, name, values)
        raw = values.take(order).to_numpy()
        mean, deviation = float(raw.mean()), float(raw.std())
        scales[f"{side}.{name}"] = mean, deviation if deviation > 0 else 1.0
        dense[:, at] = standardised(raw, scales[f"{side}.{name}"])
    for at, name in enumerate(spec.fields(side, "categorical")):
        keys = _column(file, name, pa.string())
        check_keys(path, name, keys, nullable=True)
        vocabularies[f"{side}.{name}"], categorical[:, at] = _fit_vocabulary(keys.take(order))
    for name in spec.fields(side, "multi"):
        lists = _column(file, name, ARROW_TYPE["multi"])
        check_lists(path, name, lists)
        lists = lists.take(order)
        vocabularies[f"{side}.{name}"], values = _fit_vocabulary(pc.list_flatten(lists))
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        multi.append(Ragged.of_lengths(lengths, values))
    return ids.take(order), Features(dense, categorical, tuple(multi))


def _fit_vocabulary(keys: pa.Array) -> tuple[NDArray[np.bytes_], NDArray[np.int32]]:
    """Sorted distinct values (V,), and the id of each key: index + 1, UNKNOWN for null."""
    distinct = pc.unique(keys).drop_null()
    distinct = distinct.take(pc.array_sort_indices(distinct.cast(pa.binary())))
    found = pc.index_in(keys, value_set=distinct)
    return as_bytes(distinct), pc.fill_null(pc.add(found, 1), UNKNOWN).to_numpy().astype(np.int32, copy=False)


def _column(file: pq.ParquetFile, name: str, type_: pa.DataType) -> pa.Array:
    column = file.read(columns=[name]).column(0).cast(type_).combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


def _text(keys: pa.Array) -> pa.Array:
    return keys if pa.types.is_string(keys.type) else keys.cast(pa.string())
