"""Ranges computed by workers on Ray, each of which holds what all ranges need, such as a model, once."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.config.errors import ConfigError
from model.progress.bars import Bar
from model.progress.range_workers import Done, RangeWorkers, T, Work, Worker, unheard
from model.progress.ranges import Range

RETRIES = 2
"""How often a range is computed again after its worker was lost."""


class RayRanges(RangeWorkers):
    """Workers on the Ray that this process is connected to; they live while ranges are computed.

    What they need is copied once into Ray's object store, and workers of a machine read it there. A single range is
    computed in this process, and all are if it has a GPU.

    Args:
        workers: at least 2.
        cores: that each reserves; 0 in a training, whose workers wait meanwhile.
    """

    def __init__(self, workers: int, cores: float) -> None:
        import ray

        self._workers, self._cores = workers, cores
        self._threads = max(1, int(ray.cluster_resources().get("CPU", 0)) // workers)

    def results(self, work: Work[T], ranges: Sequence[Range], done: Done = unheard) -> Iterator[T]:
        """The results of ranges, in their order; each worker computes one, and waits until it is asked for.

        Raises:
            ConfigError: a worker was lost too often.
        """
        if len(ranges) < 2 or torch.cuda.is_available():
            yield from super().results(work, ranges, done)
            return
        import ray
        from ray.exceptions import RayError, RayTaskError

        shared = [_shared(work)]
        start = ray.remote(_RangeWorker).options(num_cpus=self._cores, scheduling_strategy="SPREAD",
                                                 max_restarts=RETRIES, max_task_retries=RETRIES)
        workers = [start.remote(self._threads) for _ in range(min(self._workers, len(ranges)))]
        waiting = deque(worker.result.remote(own, shared) for worker, own in zip(workers, ranges, strict=False))
        try:
            for at in range(len(ranges)):
                found, units = ray.get(waiting.popleft())
                if (following := at + len(workers)) < len(ranges):
                    waiting.append(workers[at % len(workers)].result.remote(ranges[following], shared))
                done(units)
                yield found
        except RayTaskError:  # of the work itself
            raise
        except RayError as error:
            raise ConfigError(f"a worker was lost while it computed rows {ranges[at].first} to {ranges[at].end}, and "
                              f"{RETRIES} in its place, most likely for lack of memory; give fewer --workers, or "
                              f"machines with more ({' '.join(str(error).split())})") from error
        finally:
            for worker in workers:
                ray.kill(worker)


class _RangeWorker:
    """A process that computes ranges.

    Args:
        threads: of a range.
    """

    def __init__(self, threads: int) -> None:
        Bar.shown = False
        self._threads = min(threads, os.cpu_count() or 1)  # of this machine, which may have fewer than another
        torch.set_num_threads(self._threads)
        self._work: Work[Any] | None = None

    def result(self, own: Range, shared: list[Any]) -> tuple[Any, int]:
        """The result of a range, and how much was done for it.

        Args:
            own: the range.
            shared: the reference to the work, always the same; in a list, or Ray would read it for each range.
        """
        import ray

        if self._work is None:
            self._work = ray.get(shared[0])
        units: list[int] = []
        return self._work(own, Worker(self._threads, units.append)), sum(units)


def _shared(work: Work[Any]) -> Any:
    """A reference to a copy in the object store, whose arrays and tensors are read where they lie there."""
    import ray

    ray.util.register_serializer(torch.Tensor, serializer=_array, deserializer=_tensor)
    try:
        return ray.put(work)
    finally:
        ray.util.deregister_serializer(torch.Tensor)


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().numpy()


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """A tensor over memory that nobody may write, of which torch warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(np.asarray(array))
