"""The walk of a search: what it says agrees with the tree, with the answer, and with POST /explain."""

from itertools import pairwise

import numpy as np
import pytest

from service.console.walk import BINS, MOST_DROPPED, MOST_KEPT, Walk
from service.contract.console_schemas import WalkLevel
from tests.service.console.worlds import answer


def levels_of(retriever, **body):
    found, eligible = answer(retriever, **body)
    shown = Walk(found.found, found.snapshot, eligible).levels()
    for level in shown:
        WalkLevel.model_validate(level, strict=True)
    return shown, found


def test_kept_nodes_are_those_whose_children_come_next_when_the_beam_is_narrow(untargeted):
    levels, found = levels_of(untargeted)
    tree = untargeted.bundle.content.tree
    assert [level["level"] for level in levels] == [1, 2, 3]
    for above, below in pairwise(levels):
        kept = {node["node"] for node in above["nodes"] if node["kept"]}
        assert {node["parent"] for node in below["nodes"]} <= kept
    for level in levels[:-1]:
        for node in level["nodes"]:
            first, end = (edge.item() for edge in tree.bounds(level["level"], np.array([node["node"]])))
            assert node["ads"] == end - first
            assert tree.node_at(level["level"], tree.position_of_row[int(node["ad_id"][3:])]) == node["node"]
    last = sorted((node for node in levels[-1]["nodes"] if node["kept"]), key=lambda node: node["rank"])
    assert [node["ad_id"] for node in last] == found.ad_ids
    assert [node["score"] for node in last] == pytest.approx(found.found.scores.tolist())


def test_margins_lead_to_the_edge_of_the_beam(untargeted):
    for level in levels_of(untargeted)[0]:
        kept = [node["score"] for node in level["nodes"] if node["kept"]]
        dropped = [node["score"] for node in level["nodes"] if not node["kept"]]
        assert min(kept) >= max(dropped)
        for node in level["nodes"]:
            edge = max(dropped) if node["kept"] else min(kept)
            assert node["margin"] == pytest.approx(node["score"] - edge, abs=1e-5)
            assert (node["margin"] >= 0) is node["kept"]
        assert len(kept) == level["kept"]
        assert level["scored"] == level["candidates"] == sum(level["spread"]["kept"] + level["spread"]["dropped"])
        assert len(level["spread"]["kept"]) == BINS


def test_eligible_ads_are_counted_when_ads_have_targeting(retriever):
    levels, found = levels_of(retriever)
    _, eligible = answer(retriever)
    positions = eligible.positions()
    tree = retriever.bundle.content.tree
    for level in levels[:-1]:
        for node in level["nodes"]:
            first, end = tree.bounds(level["level"], np.array([node["node"]]))
            assert node["eligible"] == ((positions >= first) & (positions < end)).sum()
        assert level["eligible_dropped"] == sum(node["eligible"] for node in level["nodes"] if not node["kept"])
    assert {node["eligible"] for node in levels[-1]["nodes"]} == {1}
    assert found.found.eligible == eligible.total


def test_level_lists_no_node_when_all_its_candidates_fit(retriever):
    levels, _ = levels_of(retriever, beam_width=[4, 3])
    assert (levels[0]["scored"], levels[0]["nodes"], levels[0]["spread"]) == (0, [], None)
    assert levels[0]["kept"] == levels[0]["candidates"]


def test_listed_nodes_are_bounded_when_the_search_is_wide(retriever):
    last = levels_of(retriever, beam_width=24, top_k=120, user_id="nobody")[0][-1]
    kept = sum(node["kept"] for node in last["nodes"])
    assert kept <= MOST_KEPT
    assert len(last["nodes"]) - kept <= MOST_DROPPED
    assert last["nodes"][0]["rank"] == 1


def test_margins_are_told_in_ecpm_when_that_ranks(retriever):
    last = levels_of(retriever, rank_by="ecpm")[0][-1]
    kept = [node for node in last["nodes"] if node["kept"]]
    edge = max(node["ecpm"] for node in last["nodes"] if not node["kept"])
    assert kept[0]["margin"] == pytest.approx(kept[0]["ecpm"] - edge, rel=1e-6)
