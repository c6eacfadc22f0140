"""Batches of an epoch, each prepared while those before it are learned from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from model.examples.folds import Fold
from model.objective.objective import Objective
from model.objective.prepared import Prepared
from model.runs.workers import Workers

AHEAD = 2
"""Batches that are prepared at a time: without fields or with long histories one takes longer than learning from it."""


class Preparation:
    """Prepares batches by random numbers that depend on (seed, epoch, batch) alone.

    Of several workers each prepares every so-manieth batch and hands it to the others.

    Args:
        objective: reads batches.
        folds: of its events.
        workers: who train.
    """

    def __init__(self, objective: Objective, folds: Sequence[Fold], workers: Workers) -> None:
        self._objective, self._folds, self._workers = objective, folds, workers

    def batches(self, epoch: int, first: int, plan: Sequence[tuple[int, NDArray[np.int64]]]) -> Iterator[Prepared]:
        """The batches of a plan, the first of which is the epoch's batch `first`."""
        workers = self._workers

        def prepare(place: int) -> Prepared:
            fold, chosen = plan[place]
            rng = np.random.default_rng([self._objective.config.seed, 14, epoch, first + place])
            return self._objective.prepare(chosen, self._folds[fold], rng)

        with ThreadPoolExecutor(AHEAD) as pool, _one_core_spared():
            own = iter(range(workers.rank, len(plan), workers.count))
            coming = deque(pool.submit(prepare, place) for place in islice(own, AHEAD))
            for place, (fold, _) in enumerate(plan):
                giver, found = place % workers.count, None
                if giver == workers.rank:
                    found = coming.popleft().result().with_index(None)
                    coming.extend(pool.submit(prepare, following) for following in islice(own, 1))
                yield workers.handed(found, giver).with_index(self._folds[fold].index)


@contextmanager
def _one_core_spared() -> Iterator[None]:
    """Leaves a core to the threads that prepare batches, where torch has more than one, and keeps BLAS to it."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before - 1))
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)
