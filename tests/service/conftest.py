import pytest

from tests.service.service_process import ServiceProcess


@pytest.fixture(scope="package")
def service(tiny_bundle):
    """A running service without Redis, shared by tests that leave no trace in it but counters."""
    with ServiceProcess(tiny_bundle) as process:
        yield process
