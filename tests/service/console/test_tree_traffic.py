"""Traffic of the tree: counts that were made by hand from the steps of each request."""

import asyncio

import numpy as np
import orjson
import pytest

from service.console import tree_traffic
from service.console.replay import replayed
from service.console.tree_traffic import TreeTraffic
from service.contract.console_schemas import MeanLevel, TreeNode
from service.retrieval.search_queue import NoQueue

BODIES = [orjson.dumps({"user_id": f"user-{i:02d}", "top_k": 5, "beam_width": [2, 3],
                        "exclude_ad_ids": [f"ad-{i:04d}"]}) for i in range(6)]


@pytest.fixture(scope="module")
def requests(untargeted):
    return asyncio.run(replayed(untargeted, untargeted.sealed, BODIES, NoQueue))


@pytest.fixture(scope="module")
def tree(retriever):
    return retriever.bundle.content.tree


@pytest.mark.parametrize("level", [1, 2, 3])
def test_shares_are_those_counted_by_hand(untargeted, requests, tree, level):
    nodes = np.arange(tree.size(level))
    shown = TreeTraffic(untargeted.sealed, requests).nodes(level, nodes)
    assert len(shown) == tree.size(level)
    for node in shown:
        TreeNode.model_validate(node, strict=True)
        number, (first, end) = node["node"], (edge.item() for edge in tree.bounds(
            level, np.array([node["node"]])))
        steps = [step for one in requests for step in one.answer.found.steps if step.level == level]
        assert len(steps) == len(requests)
        assert node["scored"] == pytest.approx(np.mean([number in step.nodes for step in steps]))
        assert node["kept"] == pytest.approx(np.mean([number in step.nodes[step.kept] for step in steps]))
        returned = [untargeted.sealed.positions(one.answer.found.rows) for one in requests]
        assert node["returned"] == pytest.approx(np.mean([((at >= first) & (at < end)).sum() for at in returned]))
        eligible = [one.eligible.positions() for one in requests]  # each excludes an ad
        assert node["eligible"] == pytest.approx(
            np.mean([((at >= first) & (at < end)).sum() for at in eligible]) / (end - first))
    assert [node["scored"] for node in shown] == sorted((node["scored"] for node in shown), reverse=True)


def test_time_of_the_nodes_adds_up_to_that_of_their_level(retriever, requests, tree):
    traffic = TreeTraffic(retriever.sealed, requests)
    for level in traffic.mean_levels():
        MeanLevel.model_validate(level, strict=True)
        nodes = traffic.nodes(level["level"], np.arange(tree.size(level["level"])))
        assert sum(node["ms"] for node in nodes) == pytest.approx(level["ms"], abs=0.05)


def test_every_node_with_an_eligible_ad_counts_as_kept_when_all_fit_into_the_beam(retriever, tree):
    body = orjson.dumps({"user_id": "user-00", "beam_width": [1000, 1000]})
    found = asyncio.run(replayed(retriever, retriever.sealed, [body], NoQueue))
    for level in (1, 2):
        for node in TreeTraffic(retriever.sealed, found).nodes(level, np.arange(tree.size(level))):
            assert (node["scored"], node["kept"]) == (0.0, float(node["eligible"] > 0))


def test_tree_is_shown_without_traffic_when_there_was_no_request(retriever, tree):
    traffic = TreeTraffic(retriever.sealed, [])
    nodes = traffic.nodes(1, np.arange(tree.size(1)))
    assert {(node["eligible"], node["scored"], node["kept"]) for node in nodes} == {(1.0, 0.0, 0.0)}
    assert traffic.mean_levels() == []


def test_only_the_nodes_of_most_traffic_are_listed_when_there_are_many(retriever, requests, tree, monkeypatch):
    every = TreeTraffic(retriever.sealed, requests).nodes(3, np.arange(tree.size(3)))
    monkeypatch.setattr(tree_traffic, "MOST_NODES", 7)
    assert TreeTraffic(retriever.sealed, requests).nodes(3, np.arange(tree.size(3))) == every[:7]
