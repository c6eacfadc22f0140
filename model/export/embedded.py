"""Embeddings of all items by the item tower, range by range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.examples.batches import BatchReader
from model.progress.range_workers import HERE, RangeWorkers, Worker
from model.progress.ranges import Range, ranges_of


@dataclass(frozen=True)
class _Embed:
    """The embeddings (R, Di) float32 of a range of items, as `Work`."""

    reader: BatchReader

    def __call__(self, items: Range, worker: Worker) -> NDArray[np.float32]:
        return self.reader.embeddings[np.arange(items.first, items.end)]


def embedded(reader: BatchReader, workers: RangeWorkers = HERE) -> NDArray[np.float32]:
    """The embeddings of all items (n_items, Di) float32 by row, by a model in eval mode.

    Args:
        reader: of the model.
        workers: who embeds ranges of items.
    """
    ranges = ranges_of(len(reader.dataset.items))
    vectors = np.empty((len(reader.dataset.items), reader.model.item_width), np.float32)
    for items, found in zip(ranges, workers.results(_Embed(reader), ranges), strict=True):
        vectors[items.rows] = found
    return vectors
