"""The bench on the tiny bundle: every search finds all where its settings leave nothing out."""

from dataclasses import replace

from loadtest.__main__ import main
from loadtest.bench.bench import compare
from loadtest.bench.report import KINDS
from tests.loadtest.small_bench import ADS, LITTLE, USERS

MEASURES = {"name", "params", "overlap@100", "recall@20", "recall@100", "pairs", "p50_ms", "p95_ms", "search_ms",
            "kernel_ms"}


def test_every_search_finds_all_that_the_exhaustive_finds_when_its_settings_leave_nothing_out(report):
    assert (report["ads"], report["quality_users"], report["timed_queries"]) == (ADS, USERS, 8)
    assert report["exhaustive"]["pairs"] == ADS - 10  # train ads are excluded
    widest = {kind: max(report[kind], key=lambda row: row["overlap@100"]) for kind in KINDS}
    for kind, row in widest.items():
        assert row["overlap@100"] == 1.0, kind
        assert {row["recall@20"], row["recall@100"]} == {report["exhaustive"]["recall@20"],
                                                         report["exhaustive"]["recall@100"]}
    assert {kind: widest[kind]["pairs"] for kind in ("hnsw", "ivf")} == {"hnsw": ADS - 10, "ivf": ADS - 10}


def test_all_rows_have_the_same_fields_when_measured(report):
    for row in (report["exhaustive"], *(row for kind in KINDS for row in report[kind])):
        assert set(row) == MEASURES
        assert 0 < row["kernel_ms"] < row["search_ms"] < row["p50_ms"] <= row["p95_ms"]
    assert [row["params"]["default"] for row in report["beam"]].count(True) == 1
    assert set(report["hnsw"][0]["params"]) == {"M", "efSearch", "candidates"}
    assert set(report["ivf"][0]["params"]) == {"nlist", "nprobe", "candidates"}
    assert set(report["graph"][0]["params"]) == {"M", "ef", "batch"}


def test_baselines_over_two_towers_are_left_out_when_there_are_none(opened, query_set):
    alone = compare(opened, None, None, replace(query_set, users=query_set.users[:2]), queries=1, seed=0, sweep=LITTLE)
    assert alone["hnsw"] == alone["ivf"] == []
    assert set(alone["summary"]["rivals"]) == {"graph"}


def test_bench_says_both_when_bundles_are_of_different_worlds(grown, tiny_bundle, monkeypatch, capsys):
    world = grown / "300_ads"
    monkeypatch.setattr("sys.argv", ["loadtest", "bench", "--bundle", str(world / "bundle"), "--data",
                                     str(world / "data"), "--two-tower", str(tiny_bundle)])
    assert main() == 1
    assert "the two-tower bundle has 300 ads and 40 users, the bundle 300 and 200" in capsys.readouterr().err
