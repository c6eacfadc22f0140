"""The address that the supervisor listens on, in all forms that people write."""

import socket
import subprocess
from contextlib import closing

import httpx
import pytest

from service.settings import read_settings
from service.supervisor.supervisor import ListenError, open_address
from tests.service.commands import service
from tests.service.service_process import ServiceProcess


def has_ipv6():
    try:
        with closing(socket.socket(socket.AF_INET6)) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize(("given", "address"), [
    ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), pytest.param("::", "::", marks=ipv6),
    pytest.param("::1", "::1", marks=ipv6), pytest.param("[::1]", "::1", marks=ipv6)])
def test_address_is_bound_when_it_is_written_so(given, address):
    with open_address(read_settings({"host": given, "port": 0})) as listening:
        assert listening.getsockname()[0] == address


def test_name_is_looked_up_when_it_is_no_address():
    with open_address(read_settings({"host": "localhost", "port": 0})) as listening:
        assert listening.getsockname()[0] in ("127.0.0.1", "::1")


@ipv6
def test_service_answers_when_it_listens_on_ipv6(tiny_bundle):
    def on_ipv6(command, **options):
        return subprocess.Popen([*command, "--host", "[::1]"], **options)

    with ServiceProcess(tiny_bundle, spawn=on_ipv6) as process:
        listening = process.wait_for_event("listening")
        assert listening["host"] == "::1"
        reply = httpx.post(f"http://[::1]:{listening['port']}/retrieve", json={"user_id": "user-01"}, trust_env=False)
        assert reply.json()["ads"]


@pytest.mark.parametrize(("host", "shown"), [("no-such-host.invalid", "no-such-host.invalid:8080"),
                                             ("1::2::3", "[1::2::3]:8080"), ("a..b", "a..b:8080"),
                                             ("x" * 80, "x" * 80 + ":8080"), ("[::", "[[::]:8080"),
                                             ("192.0.2.1", "192.0.2.1:8080"), ("2001:db8::1", "[2001:db8::1]:8080")])
def test_address_is_named_with_the_reason_when_it_cannot_be_bound(host, shown):
    with pytest.raises(ListenError) as error:
        open_address(read_settings({"host": host}))
    assert str(error.value).startswith(f"cannot listen on {shown} (")
    assert "Unknown error" not in str(error.value)
    assert "--host" in str(error.value)


def test_service_ends_with_the_reason_when_its_host_is_unknown(tiny_bundle):
    done = service(tiny_bundle, "--host", "no-such-host.invalid", "--port", 8080)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot listen on no-such-host.invalid:8080 (")
    assert len(done.stderr.splitlines()) == 1
