"""A root as Serve runs it, without Ray: a service in a process, and an address book that follows its shards."""

import json
import os
import signal
import socket

import httpx
import pytest

from service.cluster.root_replica import Addresses, RootReplica, environment
from tests.service.cluster.running_shards import until


class Handle:
    """A handle as Serve gives it, to a shard whose replicas the test plants; one that is None does not answer."""

    def __init__(self, *servers):
        self.servers = servers

    def broadcast(self, method):
        assert method == "address"
        return self

    def results(self, timeout_s, return_exceptions):
        assert return_exceptions
        if not self.servers:
            raise TimeoutError
        return [TimeoutError() if server is None else server.address for server in self.servers]


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_addresses_are_written_when_they_change():
    addresses = Addresses(2)
    assert addresses.changed() == [[], []]
    addresses.tell(0, ["b:1", "a:1"], everybody=True)
    assert addresses.changed() == [["a:1", "b:1"], []]
    addresses.tell(0, ["a:1", "b:1"], everybody=True)
    assert addresses.changed() is None
    addresses.tell(0, ["b:1"], everybody=True)
    addresses.tell(1, ["c:1"], everybody=True)
    assert addresses.changed() == [["b:1"], ["c:1"]]


def test_addresses_count_on_while_a_replica_is_silent():
    addresses = Addresses(1)
    addresses.tell(0, ["a:1", "b:1"], everybody=True)
    addresses.tell(0, ["b:1", "c:1"], everybody=False)
    assert addresses.changed() == [["a:1", "b:1", "c:1"]]
    addresses.tell(0, [], everybody=False)
    assert addresses.changed() is None
    addresses.tell(0, ["b:1", "c:1"], everybody=True)
    assert addresses.changed() == [["b:1", "c:1"]]


def test_environment_is_that_of_the_node_and_says_where_the_shards_are(tmp_path):
    assert environment({"A": "1"}, tmp_path) == {"A": "1", "RETRIEVAL_SHARDS": str(tmp_path)}


def test_the_service_answers_with_the_shards_that_serve_knows_and_ends_with_its_replica(roots, listening, port,
                                                                                      monkeypatch):
    monkeypatch.setenv("RETRIEVAL_SHARD_TIMEOUT_MS", "30000")
    handles = [Handle(listening(roots, 0)), Handle()]
    replica = RootReplica(str(roots / "two"), ("127.0.0.1", port), handles)
    url = f"http://127.0.0.1:{port}"
    until(lambda: replica._book.exists()
          and json.loads(replica._book.read_text())["shards"] == [[handles[0].servers[0].address], []])
    handles[1].servers = (listening(roots, 1), None)

    def ready():
        try:
            return httpx.get(f"{url}/readyz", trust_env=False, timeout=60).is_success
        except httpx.TransportError:
            return False

    until(ready, 120)
    reply = httpx.post(f"{url}/retrieve", json={"user_id": "user-01", "top_k": 300}, trust_env=False,
                       timeout=60).json()
    assert (len(reply["ads"]), reply["degraded"]) == (300, [])
    replica.check_health()
    process = replica._service
    replica.__del__()
    assert process.returncode == 0


def test_a_service_that_has_ended_is_no_longer_healthy(tmp_path, port):
    replica = RootReplica(str(tmp_path / "none"), ("127.0.0.1", port), [])
    replica._service.wait()
    with pytest.raises(RuntimeError, match="the service has ended with exit status 1"):
        replica.check_health()


def test_a_replica_that_is_killed_takes_its_service_along(roots, listening, port):
    replica = RootReplica(str(roots / "two"), ("127.0.0.1", port), [Handle(listening(roots, n)) for n in range(2)])
    os.close(os.dup(replica._service.stdin.fileno()))  # others may hold copies that do not count
    replica._service.stdin.close()  # as the system does when its process is gone
    assert replica._service.wait(60) in (0, -signal.SIGTERM)
