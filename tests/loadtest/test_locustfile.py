"""locust, headless, against a real service."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.service_process import ServiceProcess

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def service(tiny_bundle):
    with ServiceProcess(tiny_bundle) as process:
        yield process


def run_locust(bundle, host, folder, users=20):
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--bundle", bundle, "--host", host,
               "--headless", "-u", users, "-r", users, "-t", "4s", "--csv", folder / "load"]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    rows = {}
    if (folder / "load_stats.csv").exists():
        with (folder / "load_stats.csv").open() as file:
            rows = {(row["Type"], row["Name"]): row for row in csv.DictReader(file)}
    return done, rows


def test_locust_passes_with_a_row_a_stage_when_all_is_well(tiny_bundle, service, tmp_path):
    done, rows = run_locust(tiny_bundle, service.http.base_url, tmp_path)
    assert done.returncode == 0, done.stderr
    asked = {name: int(row["Request Count"]) for (kind, name), row in rows.items() if kind == "POST"}
    assert set(asked) == {"/retrieve known", "/retrieve unknown", "/retrieve inline"}
    assert asked["/retrieve known"] > asked["/retrieve unknown"] + asked["/retrieve inline"]
    stages = {name: row for (kind, name), row in rows.items() if kind == "stage"}
    assert {"total", "queue", "features", "cache", "user_tower", "search", "search, level 1"} <= set(stages)
    assert {int(row["Request Count"]) for row in stages.values()} == {sum(asked.values())}
    assert float(stages["search"]["Average Response Time"]) <= float(stages["total"]["Average Response Time"])


def test_locust_fails_and_names_the_status_when_answers_are_refused(tiny_bundle, tmp_path):
    with ServiceProcess(tiny_bundle, RETRIEVAL_MAX_TOP_K="10") as refusing:
        done, rows = run_locust(tiny_bundle, refusing.http.base_url, tmp_path, users=5)
    assert done.returncode == 1
    assert "status 422, not 200" in done.stderr + done.stdout
    assert not [name for kind, name in rows if kind == "stage"]


def test_locust_ends_at_once_when_the_bundle_is_not_there(service, tmp_path):
    done, _ = run_locust(tmp_path / "nowhere", service.http.base_url, tmp_path)
    assert done.returncode == 1
    assert "error: bundle" in done.stderr
    assert "is no folder" in done.stderr
