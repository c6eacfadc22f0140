"""A stack of two layers over real HTTP. The lower layer is the scorer of the plain tiny bundle, served beside it.

So an ad's score must be that of its node at level 1, which a path tells, and what the plain service says of the ad.
"""

import pytest

from service.contract.schemas import ExplainReply, RetrieveReply
from tests.service.service_process import ServiceProcess

ASKED = {"user_id": "user-04", "top_k": 10, "beam_width": [2, 3]}
ALL = {"user_id": "user-04", "top_k": 300, "exact": True}
ROUNDING = 1e-4


@pytest.fixture(scope="module")
def stack(stacked_bundle):
    with ServiceProcess(stacked_bundle) as process:
        yield process


@pytest.fixture(scope="module")
def truth(stack):
    """All ads, best first, by exhaustive search with their paths."""
    reply = stack.retrieve(**ALL, explain=True)
    RetrieveReply.model_validate(reply)
    assert len(reply["ads"]) == 300
    return reply["ads"]


def test_score_of_an_ad_is_a_sum_over_its_path(stack, service, truth):
    lower = {ad["ad_id"]: ad["score"] for ad in service.retrieve(**ALL)["ads"]}
    for ad in truth:
        node, between, item = ad["path"]
        assert between["score"] is None  # steers the beam, which an exhaustive search has none of
        assert item["score"] == pytest.approx(ad["score"])
        assert ad["score"] == pytest.approx(node["score"] + lower[ad["ad_id"]], abs=ROUNDING)
    assert len({ad["path"][0]["score"] for ad in truth}) == 4


def test_both_layers_are_counted_when_a_search_is_exhaustive(stack):
    reply = stack.retrieve(**ALL)
    assert [(level["level"], level["scored"]) for level in reply["latency_ms"]["levels"]] == [(1, 4), (3, 300)]
    assert reply["pairs_scored"] == 304


def test_beam_answers_as_exhaustive_when_it_is_as_wide_as_the_tree(stack, truth):
    reply = stack.retrieve(**ALL | {"exact": False, "beam_width": 1000})
    assert [level["scored"] for level in reply["latency_ms"]["levels"]] == [4, 0, 300]
    assert reply["ads"] == [{name: value for name, value in ad.items() if name != "path"} for ad in truth]


@pytest.mark.parametrize("asked", [{"beam_width": 1000}, {"exact": True}])
def test_answer_is_the_exhaustive_one_of_what_targeting_and_exclusions_leave(stack, truth, asked):
    gone = [ad["ad_id"] for ad in truth[::3]]
    reply = stack.retrieve(user_id="user-04", top_k=300, exclude_ad_ids=gone,
                           targeting={"field": "category", "in": ["c1", "c2", "c7"]}, **asked)
    left = [ad for ad in truth if int(ad["ad_id"][3:]) % 12 in (1, 2, 7) and ad["ad_id"] not in gone]
    assert [(ad["ad_id"], ad["score"]) for ad in reply["ads"]] == [(ad["ad_id"], ad["score"]) for ad in left]
    assert reply["eligible"] == len(left) > 40


def test_outcomes_agree_with_the_answer_and_do_not_depend_on_a_deadline_that_is_far(stack):
    ads = stack.retrieve(**ASKED, timeout_ms=60_000)["ads"]
    assert ads == stack.retrieve(**ASKED)["ads"]
    returned = set()
    for ad_id in (f"ad-{i:04d}" for i in range(300)):
        replies = [stack.http.post("/explain", json={**ASKED, "ad_id": ad_id, **more}).json()
                   for more in ({}, {"timeout_ms": 60_000})]
        for reply in replies:
            ExplainReply.model_validate(reply)
            assert reply["outcome"] in ("returned", "outscored", "pruned")
        assert replies[0]["path"] == replies[1]["path"]
        assert replies[0]["path"][0]["score"] is not None
        if replies[0]["outcome"] == "returned":
            returned.add(ad_id)
    assert returned == {ad["ad_id"] for ad in ads}
