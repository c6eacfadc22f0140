import pytest
from pydantic import SecretStr

from index_store.bundle.sharding import shard_bundle
from service.live.log_place import LogPlace
from service.live.shared_log import SharedLog
from tests.service.cluster.running_shards import ServerThread
from tests.service.service_process import ServiceProcess


@pytest.fixture(scope="package")
def service(tiny_bundle):
    """A running service without Redis, shared by tests that leave no trace in it but counters."""
    with ServiceProcess(tiny_bundle) as process:
        yield process


@pytest.fixture
def shared_log():
    """Opens the change log at a place for a worker; all are closed at the end."""
    opened = []

    def of(where):
        opened.append(SharedLog(LogPlace(SecretStr(str(where)))))
        return opened[-1]

    yield of
    for log in opened:
        log.close()


@pytest.fixture(scope="package")
def roots(tiny_bundle, tmp_path_factory):
    """A folder with the tiny bundle as a root of two shards, `two`; nobody may change it."""
    folder = tmp_path_factory.mktemp("roots")
    shard_bundle(tiny_bundle, 2, folder / "two")
    return folder


@pytest.fixture
def listening():
    """Starts shard servers in threads; all end with the test."""
    servers = []

    def of(folder, number):
        servers.append(ServerThread(folder, number))
        return servers[-1]

    yield of
    for server in servers:
        server.close()
