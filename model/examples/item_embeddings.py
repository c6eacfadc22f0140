"""Item embeddings that are computed as they are read: those of ten million items take 2.6 GB, and are seldom needed at
once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

CHUNK = 16_384
"""Items in one call of the tower."""


class ItemEmbeddings:
    """Item embeddings (n_items, width) float32 by row, without gradients.

    Args:
        items: their number.
        width: of each.
        embed: embeddings (N, width) of item rows (N,), by a model in eval mode.
    """

    def __init__(self, items: int, width: int, embed: Callable[[NDArray[np.integer]], NDArray[np.float32]]) -> None:
        self._items, self._width, self._embed = items, width, embed

    def __len__(self) -> int:
        return self._items

    def __getitem__(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        found = np.empty((len(rows), self._width), np.float32)
        with torch.no_grad():
            for start in range(0, len(rows), CHUNK):
                chunk = slice(start, start + CHUNK)
                found[chunk] = self._embed(rows[chunk])
        return found
