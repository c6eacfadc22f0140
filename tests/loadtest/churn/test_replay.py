"""A log of changes, replayed over the tiny bundle."""

import json

from loadtest.__main__ import main


def replay(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "replay", *map(str, arguments)])
    return main()


def test_all_changes_are_replayed(tiny_bundle, monkeypatch, capsys):
    assert replay(monkeypatch, "--bundle", tiny_bundle, "--changes", 2_000) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["ads"], report["changes"]) == (300, 2_000)
    assert 150 < report["added"] < 250
    assert report["ads"] < report["changed"] <= 300 + report["added"]
    assert report["seconds"] > 0


def test_status_is_1_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    assert replay(monkeypatch, "--bundle", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: bundle ")
