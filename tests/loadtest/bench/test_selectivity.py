"""Selectivity x correlation on a tiny world, whose ads carry made-up targetings."""

import json

import numpy as np
import pytest

from loadtest.__main__ import main
from loadtest.bench.selectivity import SHARES, SIDES
from tests.model.sources.snap import write_ads


def targeting(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "targeting", "--predicates", "snap-ads", *map(str, arguments)])
    return main()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_ads(tmp_path_factory.mktemp("snap"))


def test_every_cell_is_sound_and_of_the_share_that_was_asked_for(grown, source, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert targeting(monkeypatch, "--bundle", grown / "300_ads/bundle", "--source", source, "--queries", 3,
                     "--out", out) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((out / "targeting.json").read_text()) == report
    assert (report["ads"], report["queries"], report["targetings"]) == (300, 3, 6)
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["untargeted", "as drawn", *(f"{share:.2%}, {side}" for side in SIDES for share in SHARES)]
    for share in SHARES:
        for side in SIDES:
            assert rows[f"{share:.2%}, {side}"]["eligible"] == max(1, round(300 * share))
    for row in report["rows"]:
        assert (row["sound"], row["equal"], row["full"], row["ineligible"]) == (True, True, True, 0)
        assert 0 <= row["overlap@100"] <= 1
        assert np.isfinite([row["p50_ms"], row["p99_ms"], row["cold_p50_ms"], row["ratio"], row["cold_ratio"]]).all()
    assert rows["untargeted"]["ratio"] == 1.0
    assert (out / "targeting.md").read_text().count(" yes |") == 14


def test_a_source_is_needed_and_read(grown, tmp_path, monkeypatch, capsys):
    assert targeting(monkeypatch, "--bundle", grown / "300_ads/bundle") == 1
    assert "--predicates snap-ads needs --source" in capsys.readouterr().err
    assert targeting(monkeypatch, "--bundle", grown / "300_ads/bundle", "--source", tmp_path) == 1
    assert "ads.csv.gz does not exist" in capsys.readouterr().err
