"""A bench over the tiny bundle."""

import pytest

from loadtest.bench.bench import compare
from tests.loadtest.small_bench import EVERYTHING


@pytest.fixture(scope="session")
def report(opened, towers, student, query_set):
    return compare(opened, towers, student, query_set, queries=8, seed=0, sweep=EVERYTHING)
