"""What the programs of an image find: the packages of its lock alone, seen in processes that have no others."""

import json
import subprocess
import sys

import pytest

from service.settings import variable
from tests.docker.locked_packages import locked_environment
from tests.paths import ROOT
from tests.service.service_process import ServiceProcess, command_line

SENT = 20


@pytest.fixture(scope="module")
def load_image(tmp_path_factory):
    """The environment of a program in the load image."""
    return locked_environment("load", "load", tmp_path_factory.mktemp("load"))


def loadtest(environment, *arguments):
    return subprocess.run([sys.executable, "-m", "loadtest", *map(str, arguments)], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("command", ["http", "fuzz"])
def test_command_tells_its_options_when_only_the_load_image_is_there(load_image, command):
    done = loadtest(load_image, command, "--help")
    assert done.returncode == 0, done.stderr
    assert "--url URL" in done.stdout


def test_service_is_asked_when_only_the_load_image_is_there(load_image, tiny_bundle):
    with ServiceProcess(tiny_bundle) as process:
        done = loadtest(load_image, "http", "--url", process.http.base_url, "--bundle", tiny_bundle, "--rates", SENT,
                        "--seconds", "1")
    assert not done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])["rates"]  # on a busy machine without the figures of a fair run
    assert row["sent"] == SENT


def test_error_names_the_package_when_a_command_needs_more_than_the_load_image_has(load_image):
    done = loadtest(load_image, "bench", "--help")
    assert done.returncode == 2
    assert "error: `bench` needs the package service, which is not installed; `make setup` installs" in done.stderr
    assert "Traceback" not in done.stderr


def test_schemathesis_runs_when_only_the_load_image_is_there(load_image):
    program = "from schemathesis.cli import schemathesis; schemathesis(['--version'])"
    done = subprocess.run([sys.executable, "-c", program], env=load_image, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "version" in done.stdout


def test_packages_that_are_not_locked_are_hidden_when_only_the_load_image_is_there(load_image):
    for module in ("torch", "scipy", "fastapi", "service"):
        done = subprocess.run([sys.executable, "-c", f"import {module}"], env=load_image, capture_output=True,
                              text=True)
        assert f"No module named '{module}'" in done.stderr


def test_service_refuses_to_record_beams_when_its_image_has_no_pyarrow(tiny_bundle, tmp_path):
    environment = locked_environment("service", "serve", tmp_path)
    recording = {variable("beam_sample_rate"): "0.5", variable("beam_folder"): str(tmp_path / "beams")}
    done = command_line(tiny_bundle, PYTHONPATH=environment["PYTHONPATH"], **recording)
    assert done.returncode == 2
    assert "RETRIEVAL_BEAM_SAMPLE_RATE '0.5' cannot be used" in done.stderr
    assert "pyarrow is not installed; install the extra `beams`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("lock", "rate"), [("serve", "0"), ("serve-beams", "1")])
def test_service_answers_when_only_its_image_is_there(tiny_bundle, tmp_path, lock, rate):
    environment = locked_environment("service", lock, tmp_path)
    recording = {variable("beam_sample_rate"): rate, variable("beam_folder"): str(tmp_path / "beams")}
    with ServiceProcess(tiny_bundle, PYTHONPATH=environment["PYTHONPATH"], **recording) as process:
        assert process.retrieve(user_id="user-01")["ads"]
    assert len(list((tmp_path / "beams").glob("*.parquet"))) == int(rate)
