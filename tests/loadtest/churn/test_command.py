"""A runbook played against two services, on the tiny bundle."""

import json

from loadtest.__main__ import main


def churn(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "churn", *map(str, arguments)])
    return main()


def test_no_answer_has_a_hidden_ad_or_is_stale_and_new_ads_are_found(tiny_bundle, tmp_path, monkeypatch, capsys):
    runbook = tmp_path / "runbook.json"
    mix = {"pause": 7, "retarget": 2, "add": 4, "delete": 1, "click": 2}
    runbook.write_text(json.dumps([{"name": "quiet", "seconds": 2},
                                   {"name": "busy", "mix": mix, "seconds": 1, "compare": 10},
                                   {"name": "more", "mix": {"add": 1}, "share": 0.1}]))
    assert churn(monkeypatch, "--bundle", tiny_bundle, "--runbook", runbook, "--rate", 200, "--workers", 1) == 0
    output = capsys.readouterr().out
    report = json.loads(output.splitlines()[-1])
    quiet, busy, more = report["steps"]
    assert [row["step"] for row in report["steps"]] == ["quiet", "busy", "more"]
    assert (quiet["changes"], busy["changes"], more["changes"]) == (0, 200, report["ads"] // 10)
    assert not any(row["leaked"] or row["stale"] for row in report["steps"])
    assert quiet["visible_p50_ms"] is None
    assert quiet["answers"] > 10
    assert busy["answers"] > 20
    assert 0 < busy["acknowledged_p50_ms"] < busy["visible_p50_ms"]
    assert busy["belong"] > 4
    assert busy["found"] > 0.8
    assert more["overlap"] is None
    assert "| busy  |     200 |" in output


def test_status_is_1_when_bundle_or_runbook_cannot_be_used(tiny_bundle, tmp_path, monkeypatch, capsys):
    assert churn(monkeypatch, "--bundle", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: bundle ")
    assert churn(monkeypatch, "--bundle", tiny_bundle, "--rate", 0) == 1
    assert "--rate is 0, --reads 40" in capsys.readouterr().err
    assert churn(monkeypatch, "--bundle", tiny_bundle, "--runbook", "mixd") == 1
    assert capsys.readouterr().err == ("error: runbook mixd cannot be read ([Errno 2] No such file or directory: "
                                       "'mixd'); name one of mixed, everything, cycles, standing, or a JSON file\n")
