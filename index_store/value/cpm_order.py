"""CPM order: the ads that bid for impressions, best bid first.

What such an ad is worth does not depend on the user, so the best ones are known before anything is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.value.bids import CPM, NO_BID, AdBids

_LOOKED_AT = 4
"""Times as many ads as are asked for are looked at first, and then as many times again."""


class CpmOrder:
    """Some of the ads of a tree in the order of their CPM bids; of equal bids the lower item row comes first.

    Args:
        bids: of all ads.
        among: (C,) positions that are ordered, if they bid so.
        rows: (N,) item row of each position.

    Attributes:
        positions: (M,) int64, best first.
    """

    def __init__(self, bids: AdBids, among: NDArray[np.int64], rows: NDArray[np.integer]) -> None:
        micros, types = bids.at(among)
        bidding = (types == CPM) & (micros != NO_BID)
        positions, micros = among[bidding], micros[bidding]
        self.positions: NDArray[np.int64] = positions[np.lexsort((rows.take(positions), -micros))]

    @classmethod
    def of_all(cls, bids: AdBids, rows: NDArray[np.integer]) -> Self:
        """That of all ads."""
        return cls(bids, np.arange(len(bids)), rows)

    def head(self, k: int, passes: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> NDArray[np.int64]:
        """Positions of the first k ads that pass, or of fewer if no more do.

        Args:
            k: wanted.
            passes: of positions (C,), whether each does (C,).
        """
        found, start, size = np.empty(0, np.int64), 0, _LOOKED_AT * k
        while len(found) < k and start < len(self.positions):
            block = self.positions[start:start + size]
            found = np.concatenate([found, block[passes(block)]])
            start, size = start + size, _LOOKED_AT * size
        return found[:k]
