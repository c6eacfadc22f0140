"""Interaction files of the public recommendation benchmarks: lines of `user item item …`, all integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.data.tables import DataError


def read_text(folder: Path, name: str) -> str:
    """A source's text file.

    Raises:
        DataError: it does not exist.
    """
    path = folder / name
    if not path.is_file():
        raise DataError(f"{path} does not exist; --source must name the folder that holds it")
    return path.read_text(errors="replace")  # undecodable bytes are not integers either


def read_lines(folder: Path, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of one file: (N,) users and (N,) items, in file order.

    Raises:
        DataError: the file is missing, or an entry is not an integer >= 0.
    """
    lines = [line.split() for line in read_text(folder, name).splitlines()]
    lines = [line for line in lines if line]
    lengths = np.array([len(line) - 1 for line in lines], np.int64)
    flat = _numbers(folder / name, [entry for line in lines for entry in line])
    heads = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]) if lines else np.empty(0, np.int64)
    items = np.delete(flat, heads)
    return np.repeat(flat[heads], lengths), items


def read_numbers(folder: Path, name: str, columns: int) -> NDArray[np.int64]:
    """A table of integers, (rows, columns), separated by blanks.

    Raises:
        DataError: the file is missing, an entry is not an integer >= 0, or a row has another width.
    """
    rows = [line.split() for line in read_text(folder, name).splitlines() if line.strip()]
    for at, row in enumerate(rows):
        if len(row) != columns:
            raise DataError(f"{folder / name}: row {at} has {len(row)} entries, expected {columns}")
    return _numbers(folder / name, [entry for row in rows for entry in row]).reshape(-1, columns)


def as_text(numbers: NDArray[np.integer], missing: int | None = None) -> pa.Array:
    """Integers as a string array, `missing` as null."""
    keys = pa.array(numbers, mask=None if missing is None else numbers == missing)
    return keys.cast(pa.string())


def positives(users: NDArray[np.integer], items: NDArray[np.integer], **labels: NDArray[np.generic]) -> pa.Table:
    """Events without times. Users and items (N,), labels (N,) each."""
    return pa.table({"user_id": as_text(users), "ad_id": as_text(items),
                     "timestamp": pa.array(np.zeros(len(users), np.int64)),
                     **{name: pa.array(np.asarray(label, np.int8)) for name, label in labels.items()}})


def _numbers(path: Path, entries: list[str]) -> NDArray[np.int64]:
    try:
        numbers = np.array([int(entry) for entry in entries], np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: {error}; every entry must be an integer >= 0") from error
    if numbers.min(initial=0) < 0:
        raise DataError(f"{path}: {numbers.min()} is negative; every entry must be an integer >= 0")
    return numbers
