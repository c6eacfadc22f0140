"""Changes while two services answer, on the tiny bundle."""

import json

from loadtest.__main__ import main


def churn(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "churn", *map(str, arguments)])
    return main()


def test_no_hidden_ad_is_in_an_answer_and_new_ads_are(tiny_bundle, monkeypatch, capsys):
    assert churn(monkeypatch, "--bundle", tiny_bundle, "--rate", 200, "--seconds", 1, "--compared", 10, "--workers",
                 1) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["changes"], report["leaked"]) == (200, 0)
    assert 8 < report["added"] < 40
    assert report["answers"] > 50
    assert 0 < report["acknowledged_p50_ms"] < report["visible_p50_ms"]
    assert report["belong"] > 4
    assert report["found"] > 0.8


def test_status_is_1_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    assert churn(monkeypatch, "--bundle", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: bundle ")
