"""The bench on the tiny bundle: every search finds all where its settings leave nothing out."""

import json
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from index_store.targeting.eligibility import Eligible
from loadtest.__main__ import main
from loadtest.bench.bench import compare
from loadtest.bench.pareto import cost_at, front, summary
from loadtest.bench.queries import QuerySet, draw_queries, encoded
from loadtest.bench.report import KINDS, markdown, write
from loadtest.bench.searches import PairCounter, SearchRequest
from loadtest.bench.sweep import Sweep
from loadtest.bench.two_tower import TwoTower
from model.data.load import load_dataset
from model.data.tables import DataError
from service.retrieval.retriever import Retriever
from tests.loadtest.two_tower_bundle import write_two_tower_bundle

ADS, USERS = 300, 12
EVERYTHING = Sweep(beam_shares=(1000.0,), ms=(16,), efs=(ADS,), kept_shares=(1.0,), probe_shares=(1.0,),
                   candidates=(ADS,), walk_efs=(ADS,), walk_shares=(1.0, 0.1))
LITTLE = Sweep(beam_shares=(0.5,), ms=(4,), efs=(10,), kept_shares=(1.0,), probe_shares=(0.1,), candidates=(20,),
               walk_efs=(5,), walk_shares=(1.0,))
MEASURES = {"name", "params", "overlap@100", "recall@20", "recall@100", "pairs", "p50_ms", "p95_ms", "search_ms",
            "kernel_ms"}


@pytest.fixture(scope="module")
def opened(tiny_bundle):
    return Bundle.open(tiny_bundle)


@pytest.fixture(scope="module")
def towers(opened, tiny_bundle, tmp_path_factory):
    folder = write_two_tower_bundle(tiny_bundle, tmp_path_factory.mktemp("towers") / "bundle")
    return TwoTower.of(Bundle.open(folder), opened)


@pytest.fixture(scope="module")
def query_set():
    random = np.random.default_rng(3)
    return QuerySet(np.arange(USERS), Ragged.of([random.permutation(ADS)[:3] for _ in range(USERS)]),
                     Ragged.of([random.permutation(ADS)[:10] for _ in range(USERS)]))


@pytest.fixture(scope="module")
def report(opened, towers, query_set):
    return compare(opened, towers, query_set, queries=8, seed=0, sweep=EVERYTHING)


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


def test_searches_score_fewer_pairs_and_find_less_when_their_settings_are_narrow(opened, towers, query_set):
    little = compare(opened, towers, query_set, queries=1, seed=0, sweep=LITTLE)
    assert little["hnsw"][0]["pairs"] == 10
    assert little["ivf"][0]["pairs"] <= 20
    for kind in ("hnsw", "ivf", "graph"):
        assert little[kind][0]["pairs"] < ADS - 10
        assert little[kind][0]["overlap@100"] < 1.0


def test_pairs_of_a_stack_are_those_of_its_layers_whatever_searches(stacked_bundle, towers, query_set):
    opened = Bundle.open(stacked_bundle)
    nodes = opened.content.tree.size(1)
    whole = compare(opened, towers, replace(query_set, users=query_set.users[:2]), queries=1, seed=0, sweep=EVERYTHING)
    assert whole["exhaustive"]["pairs"] == nodes + ADS - 10
    for kind in ("hnsw", "ivf", "beam"):
        assert max(row["pairs"] for row in whole[kind]) == nodes + ADS - 10, kind
    assert max(row["pairs"] for row in whole["graph"]) == nodes + ADS  # train ads are walked too


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "graph", "beam", "exhaustive"])
def test_a_meter_counts_what_the_layers_of_a_stack_are_request(stacked_bundle, towers, query_set, kind):
    opened = Bundle.open(stacked_bundle)
    retriever, calls = Retriever(opened), []

    def counted(layer):
        def run(user, items, interaction):
            calls.append(len(items))
            return layer(user, items, interaction)
        return run

    scorer = opened.content.scorer([counted(layer) for layer in retriever.scorer.layers])
    search = next(one for one in LITTLE.searches(opened, towers) if one.kind == kind)
    user = encoded(opened, 7)
    vector = towers.query(user) if search.wants_vector else None
    counter = PairCounter(opened.content.tree, scorer)
    search.find(SearchRequest(retriever.query(user), vector, Eligible.of(ADS), np.array([1, 0], np.float32)), counter)
    assert counter.pairs == sum(calls)


def test_rivals_over_two_towers_are_left_out_when_there_are_none(opened, query_set):
    alone = compare(opened, None, replace(query_set, users=query_set.users[:2]), queries=1, seed=0, sweep=LITTLE)
    assert alone["hnsw"] == alone["ivf"] == []
    assert set(alone["summary"]["rivals"]) == {"graph"}


def test_inner_products_differ_from_the_two_towers_scores_by_a_constant_alone(opened, towers, tolerance=1e-4):
    own, tree = towers.retriever.bundle.content.tree, opened.content.tree
    for row in (0, 7, 23):
        user = encoded(opened, row)
        scores = towers.retriever.scorer.score(towers.retriever.query(user), own.depth, np.arange(ADS))[:, 0]
        products = towers.vectors @ towers.query(user)
        gap = scores[own.position_of_row] - products[tree.position_of_row]
        assert np.ptp(gap) < tolerance < np.ptp(products)


def test_a_bundle_is_refused_as_two_towers_when_its_score_is_no_inner_product(opened):
    with pytest.raises(DataError, match="trained with --over-arch dot"):
        TwoTower.of(opened, opened)


def test_a_stack_is_refused_as_two_towers_for_being_one(opened, stacked_bundle):
    with pytest.raises(DataError, match=r"is a stack of 2 scorers.* without --stack"):
        TwoTower.of(Bundle.open(stacked_bundle), opened)


def asked_of(grown, spared):
    opened = Bundle.open(grown / "300_ads/bundle")
    dataset = load_dataset(grown / "300_ads/data")
    return draw_queries(dataset, opened, 0, 0, np.array(spared, np.int64)), dataset


def test_users_who_chose_the_beam_are_asked_only_when_there_are_no_others(grown):
    everyone, dataset = asked_of(grown, [])
    assert everyone.fresh
    row = int(everyone.users[0])
    clicked = dataset.test.items[(dataset.test.users == row) & (dataset.test.labels[:, 0] == 1)]
    assert np.array_equal(everyone.targets.row(0), clicked)
    spared, _ = asked_of(grown, everyone.users[1:])
    assert (spared.users.tolist(), spared.fresh) == ([row], True)
    nobody_else, _ = asked_of(grown, everyone.users)
    assert not nobody_else.fresh
    assert np.array_equal(nobody_else.users, everyone.users)


def test_bench_says_both_when_bundles_are_of_different_worlds(grown, tiny_bundle, monkeypatch, capsys):
    world = grown / "300_ads"
    monkeypatch.setattr("sys.argv", ["loadtest", "bench", "--bundle", str(world / "bundle"), "--data",
                                     str(world / "data"), "--two-tower", str(tiny_bundle)])
    assert main() == 1
    assert "the two-tower bundle has 300 ads and 40 users, the bundle 300 and 200" in capsys.readouterr().err


def test_report_files_exist_when_written(report, tmp_path):
    write(report, tmp_path / "out")
    assert json.loads((tmp_path / "out/bench.json").read_text()) == json.loads(json.dumps(report))
    text = (tmp_path / "out/bench.md").read_text()
    assert text == markdown(report) + "\n"
    assert report["in_words"] in text
    assert (tmp_path / "out/pareto.svg").read_text().startswith("<?xml")
    assert (tmp_path / "out/pareto.png").read_bytes().startswith(b"\x89PNG")


def row(overlap, ms, pairs=100):
    return {"name": f"{overlap} at {ms}", "overlap@100": overlap, "p50_ms": ms, "pairs": pairs, "search_ms": ms,
            "kernel_ms": ms / 2}


def test_cost_at_an_overlap_is_interpolated_on_the_front():
    rows = [row(0.9, 2.0), row(1.0, 8.0), row(0.8, 3.0)]
    assert front(rows) == rows[:2]
    assert cost_at(rows, 0.95) == pytest.approx(4.0)
    assert cost_at(rows, 0.5) == 2.0
    assert cost_at(rows[:1], 0.95) is None


def test_summary_names_the_best_rival_or_that_none_reached_the_overlap():
    report = {"ads": 10_000, "exhaustive": row(1.0, 100.0), "beam": [row(0.9, 1.0), row(0.96, 2.0)],
              "hnsw": [row(0.7, 9.0)], "ivf": [row(0.95, 8.0)], "graph": [row(0.99, 6.0)]}
    found = summary(report)
    assert found["beam"] == report["beam"][1]
    assert found["speed_up"] == 50.0
    assert (found["best_rival"], found["speed_up_over_best_rival"]) == ("graph", 3.0)
    assert found["rivals"] == {"hnsw": None, "ivf": 8.0, "graph": 6.0}
    nobody = summary({**report, "beam": [row(0.9, 1.0)], "ivf": [], "graph": []})
    assert (nobody["beam"], nobody["speed_up"], nobody["best_rival"]) == (None, None, None)
