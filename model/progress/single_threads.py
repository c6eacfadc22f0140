"""Pools of threads that take one core each, where torch and BLAS would take all of them from every thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def single_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool for use within the block. BLAS is limited for the whole process meanwhile.

    Args:
        count: threads.
    """
    before = torch.get_num_threads()
    try:
        with (threadpool_limits(1, "blas"),
              ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool):
            yield pool
    finally:
        torch.set_num_threads(before)  # a thread's limit is also that of all threads that start later
