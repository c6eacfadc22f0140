"""locust, headless, against a real service."""

import csv
import json
import subprocess
import sys

import pytest

from index_store.bundle import pointer
from index_store.bundle.pointer import Pointer
from tests.paths import ROOT
from tests.service.service_process import ServiceProcess

TOKEN = "a token of those who ask for ads"


@pytest.fixture(scope="module")
def service(tiny_bundle):
    """A service that answers only those who bear its token."""
    with ServiceProcess(tiny_bundle, RETRIEVAL_READ_TOKEN=TOKEN) as process:
        yield process


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("RETRIEVAL_READ_TOKEN", TOKEN)


@pytest.fixture(scope="module")
def refusing(tiny_bundle):
    """A service that refuses every request of locust, which wants more ads."""
    with ServiceProcess(tiny_bundle, RETRIEVAL_MAX_TOP_K="10") as process:
        yield process


def run_locust(bundle, host, folder, *options, users=5, enough=1):
    """What locust printed, and its rows by type and name; runs longer if the machine was too busy for enough."""
    for seconds in (3, 12, 48):
        command = [sys.executable, "-m", "locust", "-f", "loadtest/http/locustfile.py", "--bundle", bundle,
                   "--host", host, "--headless", "-u", users, "-r", users, "-t", f"{seconds}s",
                   "--csv", folder / "load", "--p99-ms", 50_000, *options]
        done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=300)
        if not (folder / "load_stats.csv").exists():
            return done, {}
        with (folder / "load_stats.csv").open() as file:
            rows = {(row["Type"], row["Name"]): row for row in csv.DictReader(file)}
        if sum(int(row["Request Count"]) for (kind, _), row in rows.items() if kind == "POST") >= enough:
            break
    return done, rows


def test_locust_passes_with_a_row_a_stage_when_all_is_well(tiny_bundle, service, tmp_path):
    bundles = tmp_path / "bundles"  # a folder of bundles will do as well as the bundle that its pointer names
    bundles.mkdir()
    (bundles / "first").symlink_to(tiny_bundle)
    pointer.replace(bundles, Pointer("first"), None)
    done, rows = run_locust(bundles, service.http.base_url, tmp_path, "--timeout-ms", 50_000, "--html",
                            tmp_path / "load.html", users=100, enough=120)  # the rarest kind among them
    assert done.returncode == 0, done.stderr
    assert "PASSED: 0 of " in done.stdout
    assert "/retrieve targeted" in (tmp_path / "load.html").read_text()
    asked = {name: int(row["Request Count"]) for (kind, name), row in rows.items() if kind == "POST"}
    assert set(asked) == {"/retrieve known", "/retrieve targeted", "/retrieve hurried", "/retrieve unknown",
                          "/retrieve inline"}
    assert asked["/retrieve known"] > asked["/retrieve unknown"] + asked["/retrieve inline"]
    stages = {name: row for (kind, name), row in rows.items() if kind == "stage"}
    assert {"total", "queue", "features", "cache", "user_tower", "search", "scorer",
            "search, level 1"} <= set(stages)
    counts = {name: int(row["Request Count"]) for name, row in stages.items()}
    assert counts["total"] == counts["scorer"] == sum(asked.values())
    assert counts["search, level 1"] <= counts["total"]  # where few ads are eligible no level is walked
    assert float(stages["search"]["Average Response Time"]) <= float(stages["total"]["Average Response Time"])


def test_locust_judges_the_requests_of_all_processes_when_it_has_workers(tiny_bundle, service, tmp_path):
    done, rows = run_locust(tiny_bundle, service.http.base_url, tmp_path, "--timeout-ms", 50_000, "--processes", 2,
                            users=20)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    [verdict] = [line for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED"))]
    asked = sum(int(row["Request Count"]) for (kind, _), row in rows.items() if kind == "POST")
    assert verdict.startswith(f"PASSED: 0 of {asked} requests failed")


def test_workers_draw_different_users_from_one_popularity(tiny_bundle):
    # Elsewhere, because locust replaces the sockets and threads of the process that imports it.
    done = subprocess.run([sys.executable, "-c", """
import sys
from collections import Counter
from pathlib import Path
from index_store.bundle.bundle import Bundle
from loadtest.http.locustfile import Population
bundle = Bundle.open(Path(sys.argv[1]))
first, same, second = (Population(bundle, worker) for worker in (0, 0, 1))
drawn, again, others = ([population.known()["user_id"] for _ in range(2_000)] for population in (first, same, second))
assert drawn == again
assert drawn != others
assert Counter(drawn).most_common(1)[0][0] == Counter(others).most_common(1)[0][0]
"""[1:], str(tiny_bundle)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_locust_fails_and_names_the_status_when_answers_are_refused(tiny_bundle, refusing, tmp_path):
    done, rows = run_locust(tiny_bundle, refusing.http.base_url, tmp_path)
    assert done.returncode == 1
    assert "FAILED: " in done.stdout
    assert "status 422, not 200" in done.stderr + done.stdout
    assert not [name for kind, name in rows if kind == "stage"]


def test_locust_fails_when_the_p99_is_over_budget(tiny_bundle, service, tmp_path):
    done, _ = run_locust(tiny_bundle, service.http.base_url, tmp_path, "--p99-ms", 0.5, "--timeout-ms", 50_000)
    assert done.returncode == 1
    assert "FAILED: 0 of " in done.stdout
    assert "0.5 ms allowed" in done.stdout


def test_locust_passes_in_spite_of_failures_when_the_budget_allows_them(tiny_bundle, refusing, tmp_path):
    done, _ = run_locust(tiny_bundle, refusing.http.base_url, tmp_path, "--error-share", 1)
    assert done.returncode == 0, done.stdout


def test_locust_ends_at_once_when_the_bundle_is_not_there(service, tmp_path):
    done, _ = run_locust(tmp_path / "nowhere", service.http.base_url, tmp_path)
    assert done.returncode == 1
    assert "error: bundle" in done.stderr
    assert "is not a folder" in done.stderr


def test_every_option_has_its_row_with_its_variable_and_default_when_docs_are_read():
    # Elsewhere, because locust replaces the sockets and threads of the process that imports it.
    done = subprocess.run([sys.executable, "-c", """
import json
from locust.argument_parser import LocustArgumentParser
from loadtest.http.locustfile import add_arguments
parser = LocustArgumentParser(add_help=False)
add_arguments(parser)
print(json.dumps([[option.option_strings[0], option.env_var, option.default] for option in parser._actions]))
"""], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    table = (ROOT / "docs" / "operations.md").read_text().partition("\n## Load\n")[2].partition("\n## ")[0]
    rows = {option: (variable, default) for option, variable, default, _ in
            ([cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines() if "| `" in line)}
    for option, variable, default in json.loads(done.stdout):
        assert rows[option] == (variable, "" if default is None else f"{default:g}")
