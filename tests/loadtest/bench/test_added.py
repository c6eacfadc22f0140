"""Searches while ads are added, on the tiny bundle."""

import json

from index_store.bundle.bundle import Bundle
from loadtest.__main__ import main
from loadtest.bench.added import raw_features


def added(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "added", *map(str, arguments)])
    return main()


def test_added_ads_are_found_and_counted(tiny_bundle, monkeypatch, capsys):
    assert added(monkeypatch, "--bundle", tiny_bundle, "--queries", 8) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert (report["ads"], report["queries"]) == (300, 8)
    none, three, thirty = report["rows"]
    assert [row["added"] for row in (none, three, thirty)] == [0, 3, 30]
    assert (none["belong"], none["found"], none["apply_ms"]) == (0, None, None)
    assert thirty["belong"] > 8
    assert thirty["found"] > 0.9
    assert sum(line.startswith("| ") for line in lines) == 4


def test_features_are_those_that_the_bundle_was_made_of(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    for row in range(20):
        encoded = content.encoder.encode_item(raw_features(content, row))
        assert encoded.categorical.tolist() == content.items.categorical[[row]].tolist()
        assert encoded.multi[0].values.tolist() == content.items.multi[0].row(row).tolist()


def test_status_is_1_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    assert added(monkeypatch, "--bundle", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: bundle ")
