"""The proxy itself, with its own configuration, in front of real replicas; skipped where there is no nginx."""

import json
import os
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager

import httpx
import pytest

from loadtest.processes.logged_process import LoggedProcess
from tests.paths import ROOT
from tests.service.service_process import ServiceProcess
from tests.service.telemetry.otlp_receiver import OtlpReceiver

CALLER, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{CALLER}-{SPAN}-01", "tracestate": "vendor=1"}
CONFIGURATION = ROOT / "docker" / "nginx"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def proxy(folder, replicas):
    """nginx in front of replicas at these ports: a client of its public port, and the process, whose log is its own."""
    if (program := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        pytest.skip("nginx is not on PATH: run tests/docker/get-nginx")
    public, operators = free_ports(2)
    text = (CONFIGURATION / "nginx.conf").read_text()
    for old, new in (("listen 8080", f"listen 127.0.0.1:{public}"), ("listen 8079", f"listen 127.0.0.1:{operators}"),
                     ("/tmp/", f"{folder}/"), ("/etc/nginx/", f"{folder}/"), ("/dev/stdout", "/dev/stderr")):
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    upstream = (CONFIGURATION / "replicas.host.conf").read_text()
    servers = "".join(f"    server 127.0.0.1:{port};\n" for port in replicas)
    (folder / "replicas.conf").write_text(re.sub(r"(    server .*\n)+", servers, upstream))
    command = [program, "-c", str(folder / "nginx.conf"), "-g",
               "daemon off;" + (" user root;" if os.geteuid() == 0 else "")]
    with LoggedProcess(command, folder / "log", environment=os.environ, spawn=subprocess.Popen) as nginx, \
            httpx.Client(base_url=f"http://127.0.0.1:{public}", trust_env=False, timeout=60) as client:
        nginx.wait_until(lambda: answers(client))
        yield client, nginx


def answers(client):
    try:
        return client.get("/nowhere").status_code == 404
    except httpx.ConnectError:
        return False


def test_trace_of_the_caller_goes_through_the_proxy_and_is_in_its_log(tmp_path, tiny_bundle):
    with OtlpReceiver() as receiver, ServiceProcess(tiny_bundle, **receiver.environment()) as service, \
            proxy(tmp_path, [service.address[1]]) as (client, nginx):
        reply = client.post("/retrieve", json={"user_id": "user-01"}, headers=HEADERS)
        assert reply.status_code == 200, reply.text
        root = receiver.wait_for(CALLER, "POST /retrieve")[-1]
        assert (root.parent, root.state) == (SPAN, "vendor=1")
        assert reply.headers["traceresponse"] == f"00-{CALLER}-{root.span_id}-01"
        answered = nginx.wait_until(lambda: [line for line in nginx.lines if '"status":200' in line])
        line = json.loads(answered[0])
        assert (line["traceparent"], line["request_id"]) == (HEADERS["traceparent"], reply.headers["x-request-id"])


def test_second_replica_is_in_the_same_trace_when_the_first_one_refuses(tmp_path, tiny_bundle):
    (gone,) = free_ports(1)
    with OtlpReceiver() as receiver, ServiceProcess(tiny_bundle, **receiver.environment()) as service, \
            proxy(tmp_path, [gone, service.address[1]]) as (client, _):
        for _ in range(2):  # one of them begins with the replica that is not there
            assert client.post("/retrieve", json={"user_id": "user-01"}, headers=HEADERS).status_code == 200
        receiver.wait_until(lambda: sum(span.name == "POST /retrieve" for span in receiver.spans) == 2)
        assert {span.parent for span in receiver.spans if span.name == "POST /retrieve"} == {SPAN}
