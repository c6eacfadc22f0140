"""Recorded beams: encoded users and the nodes that a beam search kept for them, as the service writes them to files.

A Parquet file of recorded beams has one row per sampled request, with the columns

    dense        list<float32>       standardised
    categorical  list<int32>         vocabulary ids
    multi        list<list<int32>>   vocabulary ids, one list per multi-valued field
    history      list<int32>         item rows, most recent first
    level_1 …    list<int32>         nodes in the beam, ascending, a column per level, coarse to fine; at the last level
                                     positions of the items found

service/sampling/beam_files.py writes these files, model/tree/recorded_beams.py reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index_store.features.encoder import Features
from index_store.features.ragged import Ragged

FORMAT = "1"

FORMAT_KEY, BUNDLE_KEY, TREE_KEY = "format", "bundle_id", "tree"
"""Metadata of a file: its format, the bundle that was searched, and the digest of that bundle's tree."""

DENSE, CATEGORICAL, MULTI, HISTORY = "dense", "categorical", "multi", "history"


def level_column(level: int) -> str:
    """Column of the nodes kept at a level, numbered from 1."""
    return f"level_{level}"


def columns(depth: int) -> list[str]:
    """All columns of a file for a tree of `depth` levels, including the items'."""
    return [DENSE, CATEGORICAL, MULTI, HISTORY, *(level_column(level) for level in range(1, depth + 1))]


@dataclass(frozen=True)
class RecordedBeams:
    """Beams of B users.

    Attributes:
        features: of B users.
        history: B rows of item rows, most recent first.
        kept: for each level, coarse to fine, B rows of nodes, ascending; at the last level item positions.
    """

    features: Features
    history: Ragged
    kept: tuple[Ragged, ...]

    def __len__(self) -> int:
        return len(self.history)

    @property
    def numbers(self) -> int:
        """Total count of numbers, 4 bytes each."""
        lists = (*self.features.multi, self.history, *self.kept)
        return self.features.dense.size + self.features.categorical.size + sum(len(one.values) for one in lists)

    @classmethod
    def joined(cls, parts: Sequence[RecordedBeams]) -> RecordedBeams:
        """The users of all parts in order. There must be at least one part, and all must share one tree and spec."""
        features = [part.features for part in parts]
        return cls(Features(np.concatenate([one.dense for one in features]),
                            np.concatenate([one.categorical for one in features]),
                            tuple(map(Ragged.concatenated, zip(*(one.multi for one in features), strict=True)))),
                   Ragged.concatenated([part.history for part in parts]),
                   tuple(map(Ragged.concatenated, zip(*(part.kept for part in parts), strict=True))))
