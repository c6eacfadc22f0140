"""Threads with one core each, and the limits of all others as they were."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from model.progress.single_threads import single_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, "blas"):
        yield
    torch.set_num_threads(before)


def blas():
    return {one["filepath"]: one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def later():
    """Torch's limit in a thread that starts now."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_its_threads_take_one_core_each_and_later_ones_take_as_many_as_before(two_threads):
    before = blas()
    assert set(before.values()) == {2}
    with single_threads(3) as pool:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(6))) == {1}
        assert set(blas().values()) == {1}
    assert torch.get_num_threads() == later() == 2
    assert blas() == before


def test_limits_are_put_back_after_an_error(two_threads):
    with pytest.raises(ZeroDivisionError), single_threads(1) as pool:
        pool.submit(lambda: 1 / 0).result()
    assert torch.get_num_threads() == later() == 2
