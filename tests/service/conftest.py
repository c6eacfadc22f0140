import pytest
from pydantic import SecretStr

from service.live.log_place import LogPlace
from service.live.shared_log import SharedLog
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
