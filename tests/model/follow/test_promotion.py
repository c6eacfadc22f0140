"""Promotion: by the pointer, or by a service that runs and may refuse."""

import pytest

from index_store.bundle import pointer
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import Pointer
from loadtest.processes.service_process import TOKEN, ServiceProcess, service_environment
from model.config.errors import ConfigError
from model.follow.promotion import ByPointer, ByService
from tests.tiny_bundle import write_tiny_bundle

QUICK = {"RETRIEVAL_DRAIN_SECONDS": "0", "RETRIEVAL_GATE_SECONDS": "0.5", "RETRIEVAL_GATE_LATENCY_RISE": "100"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A folder of three bundles, one of them with far fewer ads; the pointer names the first."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, items in (("one", 300), ("two", 300), ("few", 40)):
        write_tiny_bundle(folder / name, n_items=items)
    pointer.replace(folder, Pointer("one"), None)
    return folder


def test_the_pointer_is_set_once_the_bundle_is_verified(tmp_path):
    with pytest.raises(BundleError):
        ByPointer(tmp_path).promote("none")
    write_tiny_bundle(tmp_path / "one")
    assert ByPointer(tmp_path).promote("one").refusal is None
    write_tiny_bundle(tmp_path / "two", seed=1)
    for _ in range(2):
        ByPointer(tmp_path).promote("two")
        assert pointer.read(tmp_path) == Pointer("two", "one")


def test_a_service_promotes_refuses_or_is_not_there(bundles, tmp_path):
    with ServiceProcess(bundles, tmp_path / "log", environment=service_environment(**QUICK)) as service:
        url = "http://{}:{}".format(*service.address)
        service.wait_until_ready()
        promoted = ByService(url, TOKEN).promote("two")
        assert promoted.refusal is None
        assert "ads in the index" in promoted.comparison
        assert pointer.read(bundles) == Pointer("two", "one")
        assert ByService(url, TOKEN).promote("two").refusal is None
        assert "few" in ByService(url, TOKEN).promote("few").refusal
        assert pointer.read(bundles).bundle == "two"
        with pytest.raises(ConfigError, match="answers 401 to the load of bundle two"):
            ByService(url, "wrong").promote("two")
        with pytest.raises(ConfigError, match="answers 404 to the load of bundle none"):
            ByService(url, TOKEN).promote("none")
    with pytest.raises(ConfigError, match="does not answer the load of bundle two"):
        ByService(url, TOKEN).promote("two")
