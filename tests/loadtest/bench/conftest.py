"""A bench over the tiny bundle, with sweeps that leave everything and hardly anything in."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from loadtest.bench.bench import compare
from loadtest.bench.queries import QuerySet
from loadtest.bench.sweep import Sweep
from loadtest.bench.two_tower import TwoTower
from tests.loadtest.two_tower_bundle import write_two_tower_bundle

ADS, USERS = 300, 12
EVERYTHING = Sweep(beam_shares=(1000.0,), ms=(16,), efs=(ADS,), kept_shares=(1.0,), probe_shares=(1.0,),
                   candidates=(ADS,), walk_efs=(ADS,), walk_shares=(1.0, 0.1))
LITTLE = Sweep(beam_shares=(0.5,), ms=(4,), efs=(10,), kept_shares=(1.0,), probe_shares=(0.1,), candidates=(20,),
               walk_efs=(5,), walk_shares=(1.0,))


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
def report(opened, towers, query_set):
    return compare(opened, towers, query_set, queries=8, seed=0, sweep=EVERYTHING)
