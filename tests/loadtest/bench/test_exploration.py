"""An hour of new ads on the tiny world: they are shown with exploration, and it is told what that costs."""

import json

import pytest

from loadtest.__main__ import main
from tests.paths import BUNDLES


def exploration(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "exploration", *map(str, arguments)])
    return main()


def test_new_ads_are_shown_more_the_more_is_explored(grown, monkeypatch, capsys):
    world = grown / "300_ads"
    assert exploration(monkeypatch, "--bundle", world / "bundle", "--world", world / "data", "--new", 20, "--answers",
                       60, "--below", 5) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    rows = report["rows"]
    assert (report["ads"], report["new"], report["answers"], len(rows)) == (300, 20, 60, 4)
    impressions = [row["impressions"] for row in rows]
    assert impressions == sorted(impressions)
    assert impressions[-1] > impressions[0] + 30
    assert (rows[0]["value"], rows[0]["without_true"]) == (1.0, 1.0)
    assert rows[-1]["value"] < 1 < rows[-1]["without_true"]
    for row in rows:
        assert row["low"] < row["without"] < row["high"]
        assert 0 <= row["shown"] <= row["reached"] <= 1
        assert row["error"] > 0
        assert row["p50_ms"] > 0
    assert sum(line.startswith("| ") for line in lines) == 5


@pytest.mark.parametrize(("bundle", "said"), [("v5", "holds no calibration of clicks"), ("tiny", "name the folder")])
def test_status_is_1_when_bundle_and_world_do_not_fit(grown, tiny_bundle, monkeypatch, capsys, bundle, said):
    folder = tiny_bundle if bundle == "tiny" else BUNDLES / bundle
    assert exploration(monkeypatch, "--bundle", folder, "--world", grown / "300_ads/data") == 1
    assert said in capsys.readouterr().err
