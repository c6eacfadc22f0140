"""What the client costs, installed for itself."""

import json
import sys

from loadtest.__main__ import main
from loadtest.http import client_cost
from tests.commands import run


def test_the_client_is_installed_alone_and_measured():
    done = run(main, "client", "--imports", 1)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert {"monn-hill-client", "httpx", "anyio"} <= set(report["distributions"])
    assert not {"numpy", "pydantic", "monn-hill"} & set(report["distributions"])
    assert 0 < report["own_bytes"] < report["bytes"] == sum(report["distributions"].values())
    assert 0 < report["own_import_ms"] < report["import_ms"]


def test_status_is_1_when_it_cannot_be_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(client_cost, "CLIENT", tmp_path / "nothing")
    done = run(main, "client")
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert sys.executable not in done.stdout
