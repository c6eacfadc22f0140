"""Why an ad was returned, or was not, over real HTTP: the answers must agree with what /retrieve says."""

import pytest

from service.contract.schemas import ExplainReply, RetrieveReply
from tests.service.contract.test_bad_input import refused

NO_CAMPAIGN = {"campaign": None, "until": None, "probability": None}

ASKED = {"user_id": "user-04", "top_k": 10, "beam_width": [2, 3]}


def explain(service, ad_id, **fields):
    response = service.http.post("/explain", json={**ASKED, "ad_id": ad_id, **fields})
    assert response.status_code == 200, response.text
    ExplainReply.model_validate(response.json())
    return response.json()


@pytest.fixture(scope="module")
def outcomes(service):
    """What became of each of the 300 ads."""
    return {ad: explain(service, ad) for ad in (f"ad-{i:04d}" for i in range(300))}


def test_each_returned_ad_has_its_whole_path_when_explanations_are_asked_for(service):
    reply = service.retrieve(**ASKED, explain=True)
    RetrieveReply.model_validate(reply)
    assert reply["ads"]
    for rank, ad in enumerate(reply["ads"], start=1):
        first, second, last = ad["path"]
        assert [step["level"] for step in ad["path"]] == [1, 2, 3]
        assert first["margin"] > 0
        assert first["rank"] <= 2
        assert second["rank"] <= 3
        assert (last["score"], last["rank"]) == (pytest.approx(ad["score"]), rank)


def test_answer_is_the_same_without_paths_when_no_explanations_are_asked_for(service):
    plain, explained = service.retrieve(**ASKED), service.retrieve(**ASKED, explain=True)
    assert all("path" not in ad for ad in plain["ads"])
    assert [ad | {"path": None} for ad in explained["ads"]] == [ad | {"path": None} for ad in plain["ads"]]


def test_level_has_no_score_when_all_its_nodes_fit(service):
    path = service.retrieve(user_id="user-04", top_k=3, beam_width=1000, explain=True)["ads"][0]["path"]
    assert [step["score"] is None for step in path] == [True, True, False]


def test_outcomes_agree_with_the_answer_when_all_ads_are_asked_about(service, outcomes):
    ads = service.retrieve(**ASKED)["ads"]
    returned = {ad for ad, found in outcomes.items() if found["outcome"] == "returned"}
    assert returned == {ad["ad_id"] for ad in ads}
    for rank, ad in enumerate(ads, start=1):
        found = outcomes[ad["ad_id"]]
        assert (found["rank"], found["level"], found["score"]) == (rank, 3, pytest.approx(ad["score"]))
        assert found["margin"] >= 0
    assert all(found["kth_score"] == pytest.approx(ads[-1]["score"]) for found in outcomes.values())


def test_ad_was_outscored_when_it_was_scored_and_others_were_better(service, outcomes):
    levels = service.retrieve(**ASKED)["latency_ms"]["levels"]
    outscored = [found for found in outcomes.values() if found["outcome"] == "outscored"]
    assert len(outscored) == levels[-1]["scored"] - 10
    for found in outscored:
        assert found["level"] == 3
        assert found["rank"] > 10
        assert found["margin"] == pytest.approx(found["score"] - found["kth_score"], abs=1e-4)
        assert found["margin"] <= 0


def test_ad_was_pruned_when_its_branch_was_dropped(outcomes):
    pruned = [found for found in outcomes.values() if found["outcome"] == "pruned"]
    assert {found["level"] for found in pruned} == {1, 2}
    assert {found["outcome"] for found in outcomes.values()} == {"returned", "outscored", "pruned"}
    for found in pruned:
        assert found["margin"] <= 0
        assert found["path"][-1]["level"] == found["level"]
        assert found["eligible"]
        assert found["refused_by"] is None


def test_ad_was_filtered_when_the_request_excludes_it(service):
    best = service.retrieve(**ASKED)["ads"][0]["ad_id"]
    found = explain(service, best, exclude_ad_ids=[best])
    assert found["outcome"] == "filtered"
    assert not found["eligible"]
    assert found["refused_by"] == {"by": "exclude_ad_ids", "path": "exclude_ad_ids", "clause": None,
                                   "version": None, **NO_CAMPAIGN}
    assert found["level"] is found["score"] is found["margin"] is None
    assert found["path"] == []


def test_first_clause_that_fails_is_named_when_targeting_filters_the_ad(service):
    clauses = [{"field": "ad_id", "in": ["ad-0007"]}, {"field": "category", "in": ["c3"]}]
    found = explain(service, "ad-0007", targeting={"all": clauses})
    assert found["outcome"] == "filtered"
    assert found["refused_by"] == {"by": "request", "path": "targeting.all[1]", "clause": clauses[1],
                                   "version": None, **NO_CAMPAIGN}
    assert explain(service, "ad-0007", targeting={"all": clauses[:1]})["outcome"] == "returned"


def test_explanation_is_refused_when_the_bundle_has_no_such_ad(service):
    for ad_id in ("no-such-ad", 7):
        refused(service.http.post("/explain", json={"user_id": "u", "ad_id": ad_id}), "unknown_ad")
    refused(service.http.post("/explain", json={"user_id": "u", "ad_id": ""}), "invalid_value")
    refused(service.http.post("/explain", json={"user_id": "u", "ad_id": 1.5}), "wrong_type")
    refused(service.http.post("/explain", json={"user_id": "u"}), "missing_field")
    refused(service.http.post("/retrieve", json={"user_id": "u", "ad_id": "ad-0001"}), "unknown_field")


def test_cap_is_named_when_it_holds_an_ad_back(service):
    asked = {"top_k": 20, "beam_width": 1000, "max_per": {"advertiser": 1}}
    plain, capped = (service.retrieve(**{**ASKED, **asked, "max_per": caps})["ads"]
                     for caps in (None, asked["max_per"]))
    held = {ad["ad_id"] for ad in plain} - {ad["ad_id"] for ad in capped}
    assert held
    for ad in held:
        found = explain(service, ad, **asked)
        assert (found["outcome"], found["eligible"], found["level"]) == ("capped", True, 3)
        assert found["refused_by"] == {"by": "max_per", "path": "max_per.advertiser", "clause": None, "version": None,
                                       **NO_CAMPAIGN}
