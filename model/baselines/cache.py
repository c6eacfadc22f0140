"""Results of baselines in a JSON file, by a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import Features
from model.data.load import Dataset, Events
from model.progress.lines import tell

FILE = "baselines.json"
VERSION = 1
"""Raised whenever a baseline would give another result on the same data."""


def data_hash(dataset: Dataset, train: Events, test: Events, users: NDArray[np.integer]) -> str:
    """SHA-256 of the fields, the events and the users who are asked.

    Args:
        dataset: whose declaration and fields count, not its events.
        train, test: events.
        users: (N,) rows.
    """
    digest = hashlib.sha256(json.dumps([VERSION, dataset.spec.to_json()], sort_keys=True).encode())
    columns = [column for events in (train, test) for column in vars(events).values() if isinstance(column, np.ndarray)]
    for array in (*_arrays(dataset.users), *_arrays(dataset.items), *columns, np.asarray(users, np.int64)):
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _arrays(features: Features) -> Iterable[NDArray[Any]]:
    yield from (features.dense, features.categorical)
    for lists in features.multi:
        yield from (lists.indptr, lists.values)


@dataclass(frozen=True)
class Cache:
    """Rows of a table by name, each beside the hash that it was measured under.

    A hash has an entry of its own, so that the answers for two draws of users stand side by side.

    Attributes:
        path: the file; it need not exist.
    """

    path: Path

    def get(self, key: str, name: str) -> dict[str, Any] | None:
        """The row of a baseline under a hash, if it was kept."""
        row = self._entries().get(key, {}).get(name)
        return dict(row) if isinstance(row, dict) else None

    def put(self, key: str, name: str, row: dict[str, Any]) -> None:
        """Keeps a row; where the file cannot be written, prints a line and goes on."""
        entries = self._entries()
        entries.setdefault(key, {})[name] = row
        partial = self.path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(entries, indent=1, allow_nan=False) + "\n")
            os.replace(partial, self.path)
        except OSError as error:
            tell(f"the baselines are not kept for the next time: {error}")

    def _entries(self) -> dict[str, Any]:
        try:
            entries = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}
