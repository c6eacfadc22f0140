"""One tiny synthetic world with its bundles, made by the real commands once for all tests that need one; and what the
tests of the bench and its rivals search: the tiny bundle."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from loadtest.demo.steps import WorldSize
from loadtest.growth import grow
from loadtest.rivals.distillation import distil
from loadtest.rivals.queries import QuerySet
from loadtest.rivals.two_tower import TwoTower
from tests.loadtest.small_bench import ADS, USERS
from tests.loadtest.two_tower_bundle import write_two_tower_bundle

TINY = grow.Stage(WorldSize(300, 200, 4_000, 0, 1, 1, 512, 20, seed=1), users=10, queries=5)


@pytest.fixture(scope="session")
def grown(tmp_path_factory):
    """Folder in which `grow` made its TINY world, `300_ads`; nobody may change what is there."""
    out = tmp_path_factory.mktemp("grow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        grow.grow(out, [TINY])
    return out


@pytest.fixture(scope="session")
def opened(tiny_bundle):
    return Bundle.open(tiny_bundle)


@pytest.fixture(scope="session")
def towers(opened, tiny_bundle, tmp_path_factory):
    folder = write_two_tower_bundle(tiny_bundle, tmp_path_factory.mktemp("towers") / "bundle")
    return TwoTower.of(Bundle.open(folder), opened)


@pytest.fixture(scope="session")
def query_set():
    random = np.random.default_rng(3)
    return QuerySet(np.arange(USERS), Ragged.of([random.permutation(ADS)[:3] for _ in range(USERS)]),
                    Ragged.of([random.permutation(ADS)[:10] for _ in range(USERS)]))


@pytest.fixture(scope="session")
def student(opened, query_set):
    return distil(opened, query_set.users, 0)
