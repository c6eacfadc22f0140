"""The check of caps on the tiny bundle, and that it tells what is wrong."""

import json

from index_store.search.exhaustive_search import ExhaustiveSearch
from loadtest.__main__ import main
from tests.paths import BUNDLES


def check(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "caps", *map(str, arguments)])
    return main()


def test_all_requests_are_answered_as_a_walk_over_all_ads_says(tiny_bundle, monkeypatch, capsys):
    assert check(monkeypatch, "--bundle", tiny_bundle, "--requests", 60) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["requests"], report["exact"], report["beam"]) == (60, 60, 60)
    assert 0 < report["short"] < 60


def test_status_is_1_when_a_search_forgets_the_caps(tiny_bundle, monkeypatch, capsys):
    search = ExhaustiveSearch.search
    monkeypatch.setattr(ExhaustiveSearch, "search",
                        lambda self, query, *, caps=None, **more: search(self, query, **more))
    assert check(monkeypatch, "--bundle", tiny_bundle, "--requests", 20) == 1
    assert json.loads(capsys.readouterr().out)["exact"] < 20
    assert check(monkeypatch, "--bundle", BUNDLES / "none") == 1
