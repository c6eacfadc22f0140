"""A shard as Serve runs it, without Ray."""

import threading
import time

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from service.cluster.shard_replica import ShardReplica
from service.cluster.shard_scaling import BUSY
from service.shards.address_book import parse_address
from service.shards.connection import ShardConnection
from service.shards.scoring_frames import query_arrays, scoring_frame
from tests.service.cluster.running_shards import until


@pytest.fixture
def root(roots):
    return Bundle.open(roots / "two")


@pytest.fixture
def replica(roots):
    return ShardReplica(str(roots), 1, "127.0.0.1")


def connect(replica, root):
    return ShardConnection(parse_address(replica.address()), root.bundle_id, 1, 2, 60.0)


def test_a_replica_serves_at_the_address_that_it_tells(replica, root):
    replica.check_health()
    connect(replica, root).close()


def test_its_busy_share_is_that_of_the_time_since_it_was_last_recorded(replica, root):
    connection = connect(replica, root)
    arrays = query_arrays(root.content.query(np.ones((1, 8), np.float32),
                                             root.content.users.features.take(np.array([0])), np.array([1], np.int32)))

    def recorded():
        return replica.record_autoscaling_stats()[BUSY]

    def ask():
        connection.send(scoring_frame(root.bundle_id, 60.0, np.arange(150), arrays), time.perf_counter() + 60)
        connection.receive(time.perf_counter() + 60)

    recorded()
    began, busy = time.monotonic(), replica._server.busy_seconds
    assert recorded() == 0.0
    for _ in range(20):
        ask()
    until(lambda: replica._server.busy_seconds > busy)
    found = recorded()
    least = (replica._server.busy_seconds - busy) / (time.monotonic() - began)
    assert 0 < least <= found * 1.000001 <= 1.000001
    assert recorded() == 0.0
    connection.close()


def test_a_replica_is_drained_once_no_root_is_connected(replica, root):
    replica.drain(0.0)
    connections = [connect(replica, root) for _ in range(2)]
    draining = threading.Thread(target=replica.drain, args=(60.0,))
    draining.start()
    for connection in connections:
        draining.join(0.2)
        assert draining.is_alive(), "while a root is connected"
        connection.close()
    draining.join(60)
    assert not draining.is_alive()


def test_a_root_that_stays_connected_does_not_keep_a_replica_for_ever(replica, root):
    connection = connect(replica, root)
    replica.drain(0.1)
    assert replica._server.connections == 1
    connection.close()


def test_a_replica_that_cannot_serve_says_why(roots, tmp_path):
    with pytest.raises(OSError, match="none is not a folder on this machine; mount the folder of roots there"):
        ShardReplica(str(tmp_path / "none"), 0, "127.0.0.1")
    with pytest.raises(OSError, match=r"shard 0 cannot listen on 203\.0\.113\.1 \(OSError: .*annot assign"):
        ShardReplica(str(roots), 0, "203.0.113.1")
