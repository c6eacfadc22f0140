"""Corrections: what a user's stored pairs add to the logits of ads, computed once and looked up in a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.speculation.adapter import Speculation
from index_store.speculation.user_pairs import UserPairs


@dataclass(frozen=True, eq=False)
class Corrections:
    """Of one user.

    Attributes:
        positions: (n,) int64 of the ads with pairs, ascending.
        of_pairs: (n, T) float32, what each of these adds.
        of_others: (T,) float32, what is added to every other ad: the user's aggregate.
        made_at: when the foundation model was asked, in seconds since 1970.
    """

    positions: NDArray[np.int64]
    of_pairs: NDArray[np.float32]
    of_others: NDArray[np.float32]
    made_at: float

    @classmethod
    def of(cls, speculation: Speculation, pairs: UserPairs) -> Self:
        """Those of a user's pairs, of which there is one at least."""
        values = speculation.codes.decoded(pairs.codes)
        aggregate = values.mean(axis=0, keepdims=True)
        return cls(pairs.positions.astype(np.int64), speculation.adapter.added("pair", values),
                   speculation.adapter.added("user", aggregate)[0], pairs.made_at)

    def added(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """What is added to the logits of ads: (C, T) float32 of positions (C,), also beyond the tree."""
        at, known = self._places(positions)
        return np.where(known[:, None], self.of_pairs[at], self.of_others)

    def known(self, positions: NDArray[np.int64]) -> int:
        """How many of these ads (C,) have a pair of their own."""
        return int(np.count_nonzero(self._places(positions)[1]))

    def _places(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        at = np.minimum(np.searchsorted(self.positions, positions), len(self.positions) - 1)
        return at, self.positions[at] == positions
