"""From a click in one service to a changed answer in another, on the tiny bundle."""

import json

from loadtest.__main__ import main


def clicks(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "clicks", *map(str, arguments)])
    return main()


def test_every_click_changes_the_other_services_answer(tiny_bundle, monkeypatch, capsys):
    assert clicks(monkeypatch, "--bundle", tiny_bundle, "--clicks", 5, "--workers", 1) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["clicks"], report["unseen"]) == (5, 0)
    assert 0 < report["written_p50_ms"] < report["seen_p50_ms"] <= report["seen_max_ms"]


def test_status_is_1_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    assert clicks(monkeypatch, "--bundle", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: bundle ")
