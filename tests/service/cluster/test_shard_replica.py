"""A shard as Serve runs it, without Ray."""

import pytest

from service.cluster.shard_replica import ShardReplica
from service.shards.address_book import parse_address
from service.shards.connection import ShardConnection


def test_a_replica_serves_at_the_address_that_it_tells(roots, tmp_path):
    from index_store.bundle.bundle import Bundle

    replica = ShardReplica(str(roots), 1, "127.0.0.1")
    replica.check_health()
    root = Bundle.open(roots / "two").bundle_id
    connection = ShardConnection(parse_address(replica.address()), root, 1, 2, 60.0)
    connection.close()


def test_a_replica_that_cannot_serve_says_why(roots, tmp_path):
    with pytest.raises(OSError, match="none is not a folder on this machine; mount the folder of roots there"):
        ShardReplica(str(tmp_path / "none"), 0, "127.0.0.1")
    with pytest.raises(OSError, match=r"shard 0 cannot listen on 203\.0\.113\.1 \(OSError: .*annot assign"):
        ShardReplica(str(roots), 0, "203.0.113.1")
