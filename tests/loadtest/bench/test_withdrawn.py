"""Searches while ads are withdrawn, on the tiny bundle."""

import json

from loadtest.__main__ import main


def withdrawn(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "withdrawn", *map(str, arguments)])
    return main()


def test_no_withdrawn_ad_is_returned_and_every_kind_is_timed(tiny_bundle, monkeypatch, capsys):
    assert withdrawn(monkeypatch, "--bundle", tiny_bundle, "--queries", 5) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert (report["ads"], report["queries"]) == (300, 5)
    assert [row["withdrawn"] for row in report["rows"]] == [0, 1, 75]
    for row in report["rows"]:
        assert row["sound"]
        assert all(row[f"{kind}_{what}"] > 0 for kind in ("untargeted", "targeted", "changed")
                   for what in ("p50_ms", "pairs"))
        assert row["apply_ms"] > 0
    assert sum(line.endswith(" yes |") for line in lines) == 3


def test_status_is_1_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    assert withdrawn(monkeypatch, "--bundle", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: bundle ")
