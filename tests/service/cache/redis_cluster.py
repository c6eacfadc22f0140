"""Two real redis-servers in cluster mode, each of which owns half of the slots."""

import contextlib
import socket
import time

from loadtest.processes.redis_server import RedisServer, free_port

SLOTS = 16384
BUS_OFFSET = 10_000
START_SECONDS = 60


def cluster_port():
    """A free port whose cluster bus, 10,000 above it, is free too."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError, OverflowError), socket.create_server(("127.0.0.1", port + BUS_OFFSET)):
            return port


@contextlib.contextmanager
def cluster(folder, *ports):
    """Two masters of one cluster, the first on the port if one is given; yields them once all slots are served."""
    ports = [*ports, cluster_port(), cluster_port()][:2]
    with contextlib.ExitStack() as stack:
        nodes = []
        for port in ports:
            (folder / str(port)).mkdir()
            nodes.append(stack.enter_context(RedisServer(folder / str(port), port, "--cluster-enabled", "yes")))
            nodes[-1].launch()
        first, second = (node.client for node in nodes)
        first.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS // 2))
        second.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS // 2, SLOTS))
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1])
        wait_for_cluster(nodes)
        yield nodes


def wait_for_cluster(nodes):
    """Waits until every node finds that all slots are served."""
    deadline = time.monotonic() + START_SECONDS
    while any(node.client.execute_command("CLUSTER INFO")["cluster_state"] != "ok" for node in nodes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
