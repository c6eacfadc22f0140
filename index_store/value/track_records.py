"""Track records: how many impressions and clicks each ad has had, of which too few say little about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

IMPRESSIONS, CLICKS = 0, 1
"""Columns of the counts."""

MOST = 2**16 - 1
"""Largest count that is kept; beyond it nothing depends on how many there were."""


@dataclass(frozen=True, eq=False)
class TrackRecords:
    """The counts of one moment, by position; it is never changed itself.

    Attributes:
        of_tree: (n_items, 2) uint16 impressions and clicks of the ads of the tree.
        of_added: (J, 2) uint16 of those beyond it.
    """

    of_tree: NDArray[np.uint16]
    of_added: NDArray[np.uint16]

    @classmethod
    def sealed(cls, n_items: int, known: NDArray[np.integer] | None) -> Self:
        """Those of a bundle (n_items, 2); where it does not know them, its ads are taken to have had as many as count.

        An ad that a model has learned from is not new, even if the bundle is too old to say how often it was shown.
        """
        counts = np.full((n_items, 2), MOST, np.uint16) if known is None else np.minimum(known, MOST)
        return cls(counts.astype(np.uint16, copy=False), np.empty((0, 2), np.uint16))

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Impressions and clicks (C, 2) of the ads at positions (C,), which may lie beyond the tree."""
        n = len(self.of_tree)
        beyond = positions >= n
        if not beyond.any():
            return self.of_tree[positions]
        found = self.of_tree[np.where(beyond, 0, positions)]
        found[beyond] = self.of_added[positions[beyond] - n]
        return found

    def extended(self, former: NDArray[np.int64]) -> Self:
        """With more ads beyond the tree: for each the position (N,) that it had before, -1 for a new one."""
        if not len(former):
            return self
        counts = self.at(np.maximum(former, 0))
        counts[former < 0] = 0
        return replace(self, of_added=np.concatenate([self.of_added, counts]))

    def counted(self, positions: NDArray[np.int64], more: NDArray[np.int64]) -> Self:
        """With more impressions and clicks (N, 2) of the ads at distinct positions (N,)."""
        if not len(positions):
            return self
        n, counts = len(self.of_tree), np.minimum(self.at(positions) + more, MOST).astype(np.uint16)
        return type(self)(_replaced(self.of_tree, positions, counts, positions < n),
                          _replaced(self.of_added, positions - n, counts, positions >= n))


def _replaced(counts: NDArray[np.uint16], at: NDArray[np.int64], new: NDArray[np.uint16],
              chosen: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Counts (N, 2) with some of the new ones; the same array if there are none."""
    if not chosen.any():
        return counts
    after = counts.copy()
    after[at[chosen]] = new[chosen]
    return after
