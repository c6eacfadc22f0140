"""A bundle that uses pairs, and the foundation model that makes them."""

import pytest

from service.settings import Settings
from service.speculation.pair_maker import PairMaker
from tests.speculated_bundles import write_foundation, write_speculated


@pytest.fixture(scope="session")
def speculated(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speculated") / "bundle"
    write_speculated(tiny_bundle, folder)
    return folder


@pytest.fixture(scope="session")
def foundation(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foundation") / "bundle"
    write_foundation(tiny_bundle, folder)
    return folder


@pytest.fixture
def maker(speculated, foundation):
    made = PairMaker.open(speculated, [foundation], Settings(), 20, 3600)
    yield made
    made.close()
