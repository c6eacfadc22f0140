"""The command on the tiny bundle: a table and JSON, or what cannot be used."""

import gzip
import json

import pytest

from loadtest.__main__ import main
from tests.paths import BUNDLES


@pytest.fixture
def files(tmp_path):
    (tmp_path / "prices").write_text(json.dumps({"one": {"price_counter_train": [0, 0, 0, 5, 9]}}))
    with gzip.open(tmp_path / "spend", "wt") as file:
        file.write("spend,currency,start,end\n10,USD,2020/01/01 00:00:00Z,2020/01/06 00:00:00Z\n")
    return ["--prices", tmp_path / "prices", "--spend", tmp_path / "spend"]


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "pacing", *map(str, arguments)])
    return main()


def test_days_are_replayed_with_and_without_budgets(tiny_bundle, files, monkeypatch, capsys):
    monkeypatch.setattr("loadtest.pacing.command.LEAST_PRICES", 5)
    monkeypatch.setattr("loadtest.pacing.command.TIMED", 3)
    assert run(monkeypatch, "--bundle", tiny_bundle, *files, "--campaigns", 3, "--requests", 40) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert (report["ads"], report["campaigns"], report["requests"]) == (300, 3, 40)
    assert [(row["day"], row["budgets"]) for row in report["rows"]] == [
        (day, name) for day in (0, 1) for name in ("none", "unpaced", "paced")]
    assert report["spend_out"] == 3
    for row in report["rows"]:
        if row["of_bound"] is not None:
            assert 0 < row["of_bound"] <= 1.05  # budgets are exceeded by an impression or two
    assert set(report["p50_ms"]) == {"without", "with"}
    assert sum(line.startswith("| ") for line in lines) == 7


def test_status_is_1_when_something_cannot_be_used(tiny_bundle, files, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "--bundle", BUNDLES / "v5", *files) == 1
    assert "no calibration" in capsys.readouterr().err
    assert run(monkeypatch, "--bundle", tiny_bundle, "--prices", tmp_path / "none", *files[2:]) == 1
    assert "holds no winning prices" in capsys.readouterr().err
