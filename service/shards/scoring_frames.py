"""What a root asks a shard for and what it is told, as frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.features.spectral import PRODUCTS, SpectralQueries
from index_store.features.user_keys import KeyHits
from index_store.search.scoring import UserQuery
from service.shards.frames import Frame, FrameError, Kind

_OF_HITS, _OF_SPECTRAL = 3, 4


@dataclass(frozen=True, eq=False)
class Scoring:
    """A request for logits.

    Attributes:
        root: id of the root that asks.
        seconds: that are left for the answer.
        positions: (C,) int64 of the shard.
        query: of the user, what items are scored with.
    """

    root: str
    seconds: float
    positions: NDArray[np.int64]
    query: UserQuery


def query_arrays(query: UserQuery) -> list[NDArray[Any]]:
    """What the scorer of a shard reads of a query."""
    hits = query.hits
    arrays: list[NDArray[Any]] = [query.embedding, hits.keys, hits.families.astype(np.int32), hits.values]
    if query.spectral is not None:
        arrays += [query.spectral.sums, query.spectral.weighted, query.spectral.scales, query.spectral.history]
    return arrays


def scoring_frame(root: str, seconds: float, positions: NDArray[np.int64], of_query: Sequence[NDArray[Any]]) -> Frame:
    """The frame of a Scoring, given the arrays of its query."""
    return Frame(Kind.SCORE, (np.frombuffer(root.encode(), np.uint8), np.array([seconds]),
                              positions.astype(np.int32), *of_query))


def read_scoring(frame: Frame) -> Scoring:
    """Raises FrameError if the arrays are not those of `scoring_frame`."""
    try:
        root, seconds, positions, embedding, *others = frame.arrays
        keys, families, values = others[:_OF_HITS]
        spectral = others[_OF_HITS:]
        if len(spectral) not in (0, _OF_SPECTRAL) or not len(keys) == len(families) == len(values):
            raise ValueError(f"{len(others)} arrays, {len(keys)} keys, {len(families)} families, {len(values)} values")
        if spectral and spectral[2].shape != (1, PRODUCTS):
            raise ValueError(f"the scales of the products have shape {spectral[2].shape}")
        types = {str(array.dtype) for array in (embedding, values, *spectral)}
        if types != {"float32"}:  # the kernel reads them where they are
            raise ValueError(f"numbers of the query are {', '.join(sorted(types))}, not float32")
        hits = KeyHits(np.array([0, len(keys)], np.int64), keys, families.astype(np.int64), values)
        query = UserQuery(embedding, hits, SpectralQueries(*spectral) if spectral else None)
        return Scoring(bytes(root).decode(errors="replace"), float(seconds[0]), positions.astype(np.int64), query)
    except (ValueError, IndexError, TypeError) as error:
        raise FrameError(f"it asks for no logits ({error})") from error


def logits_frame(logits: NDArray[np.float32], seconds: float) -> Frame:
    """The answer: logits (C, tasks), and the seconds that the dense layers took."""
    return Frame(Kind.LOGITS, (logits, np.array([seconds])))
