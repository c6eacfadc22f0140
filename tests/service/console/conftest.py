import pytest

from tests.service.console.worlds import opened
from tests.targeted_bundle import write_targeted_bundle


@pytest.fixture(scope="package")
def targeted_bundle(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("console") / "targeted"
    write_targeted_bundle(tiny_bundle, folder)
    return folder


@pytest.fixture(scope="package")
def retriever(targeted_bundle):
    """Of the tiny bundle with targeting."""
    found = opened(targeted_bundle)
    yield found
    found.close()


@pytest.fixture(scope="package")
def untargeted(tiny_bundle):
    """Of the tiny bundle, where a beam is as narrow as it is asked for."""
    found = opened(tiny_bundle)
    yield found
    found.close()
