"""A cluster that cannot start says why; one that runs is tested by its faults, tests/loadtest/chaos."""

import pytest

from loadtest.processes.cluster_process import ClusterProcess
from loadtest.processes.logged_process import ProcessEndedError
from loadtest.processes.service_process import service_environment


def test_the_reason_is_given_when_there_is_no_root(tiny_bundle, tmp_path):
    with pytest.raises(ProcessEndedError, match="is missing, so this bundle is not sharded"):
        ClusterProcess(tiny_bundle, tmp_path / "log", environment=service_environment())
