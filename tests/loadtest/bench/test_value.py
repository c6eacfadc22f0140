"""Searches by eCPM, on the tiny bundle."""

import json

import pytest

from loadtest.__main__ import main
from tests.paths import BUNDLES


def value(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "value", *map(str, arguments)])
    return main()


def test_searches_are_compared_at_rest_and_while_bids_move(tiny_bundle, tmp_path, monkeypatch, capsys):
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"one": {"price_counter_train": [0, 5, 9, 1]},
                                  "two": {"price_counter_train": [0] * 80 + [3, 1]}}))
    assert value(monkeypatch, "--bundle", tiny_bundle, "--prices", prices, "--queries", 4) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert (report["ads"], report["queries"]) == (300, 4)
    assert [row["bids"] for row in report["rows"][::7]] == ["CPC", "CPM, CPC, CPA", "CPM"]
    for row in report["rows"]:
        assert 0 <= row["overlap"] <= 1
        assert 0 < row["value"] <= 1 + 1e-9
    by_score, *_, wide, _, moving = report["rows"][14:]
    assert by_score["search"] == "by score, then x bid"
    assert wide["overlap"] > 0.9 > by_score["overlap"]
    assert moving["search"] == "by eCPM, moving"
    assert sum(line.startswith("| ") for line in lines) == 22


def test_bids_of_the_bundle_count_without_prices(tiny_bundle, monkeypatch, capsys):
    assert value(monkeypatch, "--bundle", tiny_bundle, "--queries", 1, "--max-per", "advertiser") == 0
    rows = {row["search"]: row for row in json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]}
    assert {row["bids"] for row in rows.values()} == {"its own"}
    assert rows["by eCPM, 2 per advertiser"]["overlap"] > 0.9


def test_status_is_1_when_what_is_to_be_capped_cannot_be(tiny_bundle, monkeypatch, capsys):
    assert value(monkeypatch, "--bundle", tiny_bundle, "--queries", 1, "--max-per", "price") == 1
    assert "is a dense ad field" in capsys.readouterr().err


@pytest.mark.parametrize(("prices", "said"), [("[]", "holds no winning prices"), ("{", "holds no winning prices")])
def test_status_is_1_when_prices_cannot_be_read(tiny_bundle, tmp_path, monkeypatch, capsys, prices, said):
    (tmp_path / "prices.json").write_text(prices)
    assert value(monkeypatch, "--bundle", tiny_bundle, "--prices", tmp_path / "prices.json", "--queries", 1) == 1
    assert said in capsys.readouterr().err


def test_status_is_1_when_the_bundle_is_not_calibrated(monkeypatch, capsys):
    assert value(monkeypatch, "--bundle", BUNDLES / "v5") == 1
    assert "holds no calibration" in capsys.readouterr().err
