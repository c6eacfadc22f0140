"""A killed worker, and replicas restarted in turn."""

from loadtest.chaos.worker_faults import replicas_restarted, worker_killed
from tests.loadtest.chaos.guarantees import held


def test_no_request_fails_for_a_client_that_retries_when_a_worker_is_killed(testbed):
    result = held(worker_killed(testbed), "worker killed")["worker killed"]
    assert result.facts["kills"] == 1
    assert result.facts["recovery_s"] > 0


def test_no_request_fails_behind_a_proxy_when_replicas_are_restarted_in_turn(testbed):
    result = held(replicas_restarted(testbed), "replicas restarted")["replicas restarted"]
    assert result.facts["restarts"] == 2
    assert result.facts["lost"] == 0
    assert result.phases["during"]["failed_first"] > 0  # the proxy had to retry
