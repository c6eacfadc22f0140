"""One worker: how it ends, and that it says why."""

import json
import os
import signal
import subprocess
import sys

from tests.paths import ROOT
from tests.service.service_process import ServiceProcess

START = """
import multiprocessing, socket
from pathlib import Path
from service.bundles.control_channel import Release
from service.settings import Settings
from service.supervisor import worker
from service.telemetry.shared_values import SharedMemory

if __name__ == "__main__":
    settings = Settings.model_construct(max_queue="not a number")
    release = Release("none", Path("/nowhere"), "0")
    process = multiprocessing.get_context("forkserver").Process(target=worker.run, args=(
        release, settings, socket.socket(), socket.socket(), SharedMemory.create(1), 0))
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_reason_is_logged_when_a_defect_ends_a_worker(tmp_path):
    (tmp_path / "start.py").write_text(START)
    done = subprocess.run([sys.executable, tmp_path / "start.py"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300)
    assert done.stdout == "1\n"
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["event"] == "worker_failed"
    assert "Error" in line["traceback"]


def test_last_requests_are_logged_when_a_worker_is_told_to_end(tiny_bundle):
    with ServiceProcess(tiny_bundle) as process:
        (first,) = process.worker_ids()
        for _ in range(50):
            process.retrieve(user_id="user-01")
        os.kill(first, signal.SIGTERM)
        ended = process.wait_for_event("worker_ended")
        assert (ended["worker_id"], ended["exit_code"]) == (first, 0)
        assert len([e for e in process.events if e.get("endpoint") == "/retrieve"]) == 50
        process.wait_for_event("bundle_ready", count=2)
