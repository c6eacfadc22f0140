"""Starting, checking and refusing to start: exit status, and what is said about it."""

import json
import shutil
import socket

import numpy as np
import pytest

from index_store.bundle import pointer
from index_store.bundle.manifest import FORMAT_VERSION
from index_store.bundle.pointer import Pointer
from service.settings import Settings
from service.supervisor.supervisor import open_address
from tests.resealed import reseal
from tests.service.bundle_store import break_file
from tests.service.commands import service
from tests.service.faulty_golden import other_scorer, refused_request
from tests.service.service_process import ServiceProcess, command_line


def damaged(source, folder, name, how):
    """A copy of a bundle with one damaged file."""
    shutil.copytree(source, folder)
    break_file(folder / name, how)
    return folder


@pytest.mark.parametrize(("name", "how", "why"), [
    ("user_tower.onnx", "missing", "is missing"),
    ("scorer_1.onnx", "truncated", "bytes, the manifest says"),
    ("tables/user.country.npy", "one bit flipped", "has checksum"),
    ("tree/rows.npy", "truncated", "bytes, the manifest says"),
    ("manifest.json", "missing", "not a sealed bundle"),
    ("manifest.json", "truncated", "not readable"),
    ("manifest.json", "newer", f"format version {FORMAT_VERSION + 1}, this program reads up to {FORMAT_VERSION}"),
])
@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_service_refuses_to_start_when_the_bundle_is_broken(tiny_bundle, tmp_path, name, how, why, arguments):
    done = service(damaged(tiny_bundle, tmp_path / "broken", name, how), *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: bundle ")
    assert name in done.stderr
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_service_refuses_to_start_when_there_is_no_bundle(tmp_path):
    done = command_line(tmp_path / "nowhere")
    assert done.returncode == 1
    assert "is not a folder; name the folder that `python -m model export` wrote" in done.stderr


def test_pointer_decides_what_is_served_when_the_folder_holds_bundles(tiny_bundle, fresh_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "store" / "one")
    shutil.copytree(fresh_bundle, tmp_path / "store" / "two")
    done = service(tmp_path / "store")
    assert done.returncode == 1
    assert f"promote {tmp_path / 'store'} NAME" in done.stderr
    pointer.replace(tmp_path / "store", Pointer("two"), None)
    assert service(tmp_path / "store", "--check").returncode == 0
    with ServiceProcess(tmp_path / "store") as process:
        served = process.retrieve(user_id="user-01")["bundle_id"]
    assert served == json.loads((fresh_bundle / "manifest.json").read_text())["bundle_id"]


@pytest.mark.parametrize(("change", "said"), [
    (lambda writer: writer.path("scorer_1.onnx").write_bytes(b"no graph"), "is not a graph that ONNX Runtime"),
    (lambda writer: shutil.copy(writer.path("user_tower.onnx"), writer.path("scorer_1.onnx")), "were expected"),
])
def test_service_ends_when_a_graph_does_not_fit(tiny_bundle, tmp_path, change, said):
    reseal(tiny_bundle, tmp_path / "sealed", change)
    for done in (command_line(tmp_path / "sealed", "--port", "0"), service(tmp_path / "sealed", "--check")):
        assert done.returncode == 1
        assert "scorer_1.onnx" in done.stderr
        assert said in done.stderr


@pytest.mark.parametrize(("environment", "said"), [
    ({"RETRIEVAL_PORT": "http"}, "RETRIEVAL_PORT 'http' cannot be used"),
    ({"RETRIEVAL_MAX_TOP_K": "0"}, "RETRIEVAL_MAX_TOP_K '0' cannot be used"),
    ({"RETRIEVAL_MAX_TOPK": "5"}, "RETRIEVAL_MAX_TOPK is set, but is not a setting"),
    ({"REDIS_URL": "http://:hunter2@localhost"}, "REDIS_URL as given cannot be used"),
])
def test_service_refuses_to_start_when_a_setting_is_bad(tiny_bundle, environment, said):
    done = service(tiny_bundle, **environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hunter2" not in done.stderr


def test_service_refuses_to_start_when_its_port_is_taken(tiny_bundle):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = service(tiny_bundle, "--port", port)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize("change", [other_scorer, refused_request])
def test_service_never_gets_ready_when_a_golden_answer_differs(tiny_bundle, tmp_path, change):
    reseal(tiny_bundle, tmp_path / "sealed", change)
    with ServiceProcess(tmp_path / "sealed", ready=False) as process:
        process.wait_for_event("bundle_refused")
        assert process.http.get("/livez").status_code == 200
        for response in (process.http.get("/readyz"), process.http.post("/retrieve", json={"user_id": "u"})):
            assert response.status_code == 503
            assert response.json()["error_type"] == "not_ready"
            assert "golden request" in response.json()["message"]


def test_caller_gets_no_details_when_the_service_has_a_defect(tiny_bundle, tmp_path):
    def broken_histories(writer):
        writer.array("users/history.values.npy", np.load(writer.path("users/history.values.npy")) + np.int32(1000))
        writer.json("golden.json", [])

    reseal(tiny_bundle, tmp_path / "sealed", broken_histories)
    with ServiceProcess(tmp_path / "sealed") as process:
        body = {"user_id": "user-05"}
        response = process.http.post("/retrieve", json=body, headers={"X-Request-ID": "defect"})
        assert response.status_code == 500
        assert response.json()["error_type"] == "internal"
        assert response.headers["x-request-id"] == "defect"
        assert "index" not in response.text
        line = process.wait_until(lambda: next((e for e in process.events if e.get("request_id") == "defect"), None))
        assert (line["status"], line["error_type"]) == (500, "internal")
        assert "IndexError" in line["traceback"]
        assert process.retrieve(user_id="nobody")["ads"]
        counted = 'retrieval_requests_total{endpoint="/retrieve",error_type="internal",status="500"}'
        assert process.metrics()[counted] == 1


def test_caller_is_refused_and_need_not_wait_when_no_worker_accepts_yet():
    with open_address(Settings(host="127.0.0.1", port=0)) as ours, pytest.raises(ConnectionRefusedError):
        socket.create_connection(ours.getsockname(), timeout=60)
