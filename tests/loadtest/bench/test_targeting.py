"""Searches among few eligible ads, on a tiny synthetic world whose ads refuse inventories."""

import json

from loadtest.__main__ import main


def targeting(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "targeting", *map(str, arguments)])
    return main()


def test_every_inventory_is_sound_and_compared_with_none(grown, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert targeting(monkeypatch, "--bundle", grown / "300_ads/bundle", "--queries", 8, "--out", out) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((out / "targeting.json").read_text()) == report
    assert (report["ads"], report["queries"]) == (300, 8)
    names = [row["name"] for row in report["rows"]]
    assert names == ["untargeted", "open", "premium", "kids", "exclusive"]
    eligible = [row["eligible"] for row in report["rows"]]
    assert eligible[0] == 300
    assert 90 < eligible[1] < 210
    assert eligible == sorted(eligible, reverse=True)
    for row in report["rows"]:
        assert row["sound"]
        assert row["full"]
        assert row["unlimited_equal"]
        assert row["bitmap_equal"]
        assert row["pairs"] <= row["eligible"] + 30  # nodes above the ads
        assert min(row["warm_p50_ms"], row["cold_p50_ms"], row["warm_ratio"], row["cold_ratio"]) > 0
    assert report["rows"][0]["warm_ratio"] == 1.0
    assert (out / "targeting.md").read_text().count(" yes |") == 5


def test_a_bundle_without_inventories_is_refused(tiny_bundle, monkeypatch, capsys):
    assert targeting(monkeypatch, "--bundle", tiny_bundle) == 1
    assert "no context field 'inventory'" in capsys.readouterr().err
