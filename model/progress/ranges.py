"""Ranges of rows: work on a table range by range, each result a file, so that an interruption costs one range.

A range depends on no other one, so it does not matter who computes it (`range_workers.py`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.progress.bars import Bar
from model.progress.lines import tell

ROWS = 1 << 18
"""Rows of a range: a few hundred numbers a row then take a few hundred megabytes."""

_KEY, _PARTIAL = "key", ".partial"


@dataclass(frozen=True)
class Range:
    """The rows from `first` to before `end`."""

    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first

    @property
    def rows(self) -> slice:
        return slice(self.first, self.end)


def ranges_of(n: int, rows: int = ROWS) -> list[Range]:
    """Consecutive ranges of at most `rows` rows, which cover n rows."""
    return [Range(first, min(first + rows, n)) for first in range(0, n, rows)]


class RangeFiles:
    """Arrays of consecutive ranges, a `.npy` file each.

    A file is renamed into place when it is complete, and a folder's files are kept as long as their key is the same.

    Args:
        folder: of the files, and nothing else.
        key: of everything that they depend on.
        ranges: what they hold, in order.
    """

    def __init__(self, folder: Path, key: str, ranges: list[Range]) -> None:
        self.folder, self.key, self.ranges = folder, key, ranges
        key = f"{key}\n{[(own.first, own.end) for own in ranges]}"
        written = folder / _KEY
        if folder.exists() and (not written.exists() or written.read_text() != key):
            tell(f"{folder} was made from something else; it is made anew")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written.write_text(key)

    def __len__(self) -> int:
        return len(self.ranges)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The arrays of all ranges, memory-mapped."""
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> NDArray[Any]:
        """The array of a range, memory-mapped anew."""
        found: NDArray[Any] = np.load(self._path(number), mmap_mode="r", allow_pickle=False)
        return found

    def make(self, make: Callable[[Sequence[Range]], Iterable[NDArray[Any]]], what: str, unit: str = "row") -> None:
        """Makes the ranges that are missing, under a progress bar.

        Args:
            make: the arrays of ranges, in their order.
            what, unit: for the bar.
        """
        missing = [number for number in range(len(self)) if not self._is_whole(number)]
        if len(missing) < len(self):
            tell(f"{what}: {len(self) - len(missing)} of {len(self)} ranges are there already")
        rows = sum(map(len, self.ranges))
        with Bar(total=rows, initial=rows - sum(len(self.ranges[number]) for number in missing), desc=what, unit=unit,
                 unit_scale=True, leave=False) as bar:
            for number, values in zip(missing, make([self.ranges[number] for number in missing]), strict=True):
                self._write(number, values)
                bar.update(len(self.ranges[number]))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npy"

    def _write(self, number: int, values: NDArray[Any]) -> None:
        partial = self._path(number).with_suffix(_PARTIAL)
        with partial.open("wb") as file:
            np.save(file, values, allow_pickle=False)
        os.replace(partial, self._path(number))

    def _is_whole(self, number: int) -> bool:
        """Whether a range is there; one that was left half written is deleted, and told."""
        path, partial = self._path(number), self._path(number).with_suffix(_PARTIAL)
        if partial.exists():
            tell(f"{partial} was left half written; the range is made anew")
            partial.unlink()
        if not path.exists():
            return False
        try:
            self[number]
        except (ValueError, OSError, EOFError) as error:
            tell(f"{path} is damaged ({error}); the range is made anew")
            path.unlink()
            return False
        return True
