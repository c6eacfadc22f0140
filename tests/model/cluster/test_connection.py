"""A Ray that cannot be used is told before any work: who is at fault, both values, what to do."""

import socket
import subprocess
import sys

import pytest

from model.cluster import connection
from model.cluster.connection import connect
from model.config.errors import ConfigError
from tests.model.commands import model


@pytest.mark.parametrize("words", [("train", "--data"), ("export", "--run")])
def test_more_workers_than_cores_are_refused(tmp_path, monkeypatch, words):
    monkeypatch.delenv(connection.ADDRESS, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2})
    said = model(*words, tmp_path, "--out", tmp_path / "out", "--workers", 4, code=1)
    assert "--workers is 4, but this machine has 3 cores; give at most 3, or add --oversubscribe" in said


def test_a_ray_that_does_not_listen_is_told(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv(connection.ADDRESS, address)
    with pytest.raises(ConfigError, match=f"the Ray at {address}, which RAY_ADDRESS names, cannot be reached .*unset"):
        connect(2, False)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999999"])
def test_an_address_that_is_none_is_told(monkeypatch, address):
    monkeypatch.setenv(connection.ADDRESS, address)
    with pytest.raises(ConfigError, match=f"the Ray at {address}, which RAY_ADDRESS names, cannot be reached"):
        connect(2, False)


def test_a_ray_of_another_version_is_told_with_both(on_ray, monkeypatch):
    ray = sys.modules["ray"]
    address, ours = ray.get_runtime_context().gcs_address, ray.__version__
    program = ("import ray; ray.__version__ = '2.0.1'; from model.cluster.connection import connect\n"
               "from model.config.errors import ConfigError\n"
               "try: connect(2, True)\nexcept ConfigError as error: print(error)")
    monkeypatch.setenv(connection.ADDRESS, address)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert f"the Ray at {address} has version {ours}, this program 2.0.1" in done.stdout, done.stderr[-2000:]


def test_a_ray_that_gets_no_processor_time_is_told(monkeypatch):
    def init(**_):
        raise Exception("The current node timed out during startup. This\n  could happen")  # as Ray does

    monkeypatch.setattr("ray.init", init)  # it does so on a starved machine alone
    with pytest.raises(ConfigError, match=r"Ray has not come up on this machine \(The current node timed out during "
                                          r"startup. This could happen\); .* try again when the machine is less busy"):
        connection._init("local")


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'monn-hill\[cluster\]'"):
        connect(2, False)


@pytest.mark.parametrize("text", ["0", "-1", "two"])
def test_another_number_of_workers_is_a_usage_error(tmp_path, text):
    assert f"{text} is not a number of workers" in model("train", "--out", tmp_path, "--workers", text, code=2)
