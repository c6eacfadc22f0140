"""Two bundles of the same users with different answers, and a testbed of the short scale."""

import pytest

from loadtest.chaos.testbed import SHORT, Testbed
from loadtest.processes.children import Children
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def two_bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    for seed, name in enumerate(("first", "second")):
        write_tiny_bundle(folder / name, seed=seed, n_items=3_000, n_users=100)
    return folder / "first", folder / "second"


@pytest.fixture(scope="package")
def testbed(two_bundles, tmp_path_factory):
    """Shared by all scenarios: each starts processes of its own."""
    with Children() as children:
        yield Testbed(*two_bundles, tmp_path_factory.mktemp("testbed"), children, SHORT)
