"""The policy of Serve's autoscaler for shards, with contexts as Serve makes them."""

import subprocess
import sys

import pytest

from service.cluster.replica_range import ReplicaRange
from service.cluster.shard_scaling import BUSY, TARGET, replica_options, replicas_by_busy_share

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve._private.config import DeploymentConfig
from ray.serve.autoscaling_policy import _apply_autoscaling_config
from ray.serve.config import AutoscalingContext

SHARD = DeploymentID("shard-0", "retrieval")


def context(shares, running, config=None, **changed):
    """Of so many running replicas, the first of which have told these shares."""
    replicas = [ReplicaID(str(number), SHARD) for number in range(running)]
    told = dict(zip(replicas, shares, strict=False))
    return AutoscalingContext(**{
        "deployment_id": SHARD, "deployment_name": SHARD.name, "app_name": SHARD.app_name,
        "current_num_replicas": running, "target_num_replicas": running, "running_replicas": replicas,
        "total_num_requests": 0.0, "total_queued_requests": 0.0, "aggregated_metrics": {BUSY: told} if told else {},
        "raw_metrics": {}, "capacity_adjusted_min_replicas": 1, "capacity_adjusted_max_replicas": 9,
        "policy_state": {}, "last_scale_up_time": None, "last_scale_down_time": None, "current_time": None,
        "config": config} | changed)


@pytest.mark.parametrize(("shares", "expected"), [([0.0], 0), ([0.3], 0.5), ([1.0], 1 / TARGET), ([0.9, 0.9], 3.0),
                                                  ([0.1, 0.2, 0.3], 1.0)])
def test_so_many_replicas_are_due_that_each_is_busy_for_the_target(shares, expected):
    assert replicas_by_busy_share(context(shares, len(shares)))[0] == pytest.approx(expected)


@pytest.mark.parametrize("shares", [[], [1.0]])
def test_their_number_stays_while_one_has_not_told_yet(shares):
    assert replicas_by_busy_share(context(shares, 2))[0] == 2


def test_a_fixed_number_has_no_autoscaler():
    assert replica_options(ReplicaRange(3, 3)) == {"num_replicas": 3}


def test_serve_carries_the_policy_to_its_controller_which_has_none_of_our_modules(tmp_path):
    config = replica_options(ReplicaRange(1, 4))["autoscaling_config"]
    assert (config.min_replicas, config.max_replicas) == (1, 4)
    (tmp_path / "config").write_bytes(DeploymentConfig(autoscaling_config=config).to_proto_bytes())
    code = ("import sys; from ray.serve._private.config import DeploymentConfig; "
            "config = DeploymentConfig.from_proto_bytes(open(sys.argv[1], 'rb').read()); "
            "policy = config.autoscaling_config.policy.get_policy(); "
            "print(policy.__name__, 'service' in sys.modules)")
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path / "config")], cwd=tmp_path, text=True,
                          env={"PATH": ""}, capture_output=True, check=True)
    assert done.stdout == "replicas_by_busy_share False\n"


def test_more_replicas_come_soon_and_fewer_late(monkeypatch):
    config = replica_options(ReplicaRange(1, 9))["autoscaling_config"]
    decide = _apply_autoscaling_config(replicas_by_busy_share)
    clock = [1000.0]
    monkeypatch.setattr("ray.serve.autoscaling_policy.time.time", lambda: clock[0])

    def after(shares, *seconds):
        """The decisions at these times from now, in a row."""
        state, decided = {}, []
        for waited in seconds:
            clock[0] = 1000.0 + waited
            number, state = decide(context(shares, len(shares), config, policy_state=state))
            decided.append(number)
        return decided

    assert after([0.9, 0.9], 0, 9.9, 10) == [2, 2, 3]
    assert after([0.1, 0.2, 0.1], 0, 10, 299, 300) == [3, 3, 3, 1]
    assert after([0.5, 0.5], 0, 10, 300) == [2, 2, 2]
