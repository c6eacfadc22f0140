"""Searches compared on one query set."""

from dataclasses import replace

from index_store.bundle.bundle import Bundle
from loadtest.bench.bench import compare
from loadtest.bench.comparison import Comparison
from loadtest.rivals.searches import Exhaustive
from tests.loadtest.small_bench import ADS, EVERYTHING, LITTLE


def test_searches_score_fewer_pairs_and_find_less_when_their_settings_are_narrow(opened, towers, student, query_set):
    little = compare(opened, towers, student, query_set, queries=1, seed=0, sweep=LITTLE)
    assert little["hnsw"][0]["pairs"] == 10
    assert little["ivf"][0]["pairs"] <= 20
    for kind in ("hnsw", "ivf", "graph", "distilled", "usearch", "voyager", "scann"):
        assert little[kind][0]["pairs"] < ADS - 10
        assert little[kind][0]["overlap@100"] < 1.0


def test_pairs_of_a_stack_are_those_of_its_layers_whatever_searches(stacked_bundle, towers, query_set):
    opened = Bundle.open(stacked_bundle)
    nodes = opened.content.tree.size(1)
    two_users = replace(query_set, users=query_set.users[:2])
    whole = compare(opened, towers, None, two_users, queries=1, seed=0, sweep=EVERYTHING)
    assert whole["exhaustive"]["pairs"] == nodes + ADS - 10
    for kind in ("hnsw", "ivf", "beam"):
        assert max(row["pairs"] for row in whole[kind]) == nodes + ADS - 10, kind
    assert max(row["pairs"] for row in whole["graph"]) == nodes + ADS  # train ads are walked too


def test_overlap_of_the_exhaustive_search_is_one_and_its_targets_are_found(opened, query_set):
    every_ad_is_a_target = replace(query_set, targets=query_set.seen, seen=query_set.targets)
    [row] = Comparison(opened, None, every_ad_is_a_target).quality([Exhaustive(opened.content.tree)])
    assert row["overlap@100"] == 1.0
    assert row["pairs"] == ADS - 3
    assert 0 <= row["recall@20"] <= row["recall@100"] <= 1
