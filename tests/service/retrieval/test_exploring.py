"""Exploration through the retriever and over HTTP: who comes, with which propensity, and that all replicas agree."""

import asyncio
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.contract.query import Exploring, SearchOptions
from service.contract.schemas import ExplainReply, RetrieveReply
from service.retrieval.exploring import explored
from service.retrieval.retriever import Retriever
from tests.paths import BUNDLES
from tests.service.http.app_in_process import in_app
from tests.tiny_bundle import planted_records

ASKED = {"user_id": "user-04", "top_k": 20}


def new_ads(bundle):
    """Ids of the ads with few impressions."""
    tree = Bundle.open(bundle).content.tree
    return {f"ad-{row:04d}" for row in tree.rows[planted_records(tree.n_items)[:, 0] < 100].tolist()}


@pytest.fixture(scope="module")
def loop():
    """One event loop, since `asyncio.run` takes the text of every answer."""
    opened = asyncio.new_event_loop()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def retriever(tiny_bundle):
    opened = Retriever(Bundle.open(tiny_bundle))
    yield opened
    opened.close()


def answered(loop, retriever, share, seed, **body):
    query = to_query(parse_request(ASKED | body), retriever.bundle.manifest, UNLIMITED)
    exploring = Exploring(share=share, below=100, seed=seed)
    return loop.run_until_complete(retriever.retrieve(replace(query, exploring=exploring)))


@pytest.mark.parametrize("body", [{}, {"rank_by": "ecpm", "floor": 1000}, {"max_per": {"advertiser": 2}}],
                         ids=["score", "ecpm", "caps"])
def test_answer_explores_new_ads_within_floor_and_caps(loop, retriever, tiny_bundle, body):
    new, brands = new_ads(tiny_bundle), retriever.bundle.content.items.categorical[:, 1]
    drawn = 0
    for seed in range(20):
        answer = answered(loop, retriever, 0.3, seed, **body)
        came, found = answer.exploration.explored, answer.found
        drawn += came.sum()
        assert {ad for ad, one in zip(answer.ad_ids, came, strict=True) if one} <= new
        np.testing.assert_array_equal(answer.shown.rows[~came], found.rows[~came])
        assert (answer.exploration.propensities[~came] == answer.exploration.kept).all()
        if "floor" in body:
            assert (answer.shown.ecpm >= 1000).all()
            assert [None if bid is None else bid.micros for bid in answer.bids] == retriever.sealed.bids.at(
                retriever.sealed.positions(answer.shown.rows))[0].tolist()
        if "max_per" in body:
            assert np.bincount(brands[answer.shown.rows]).max() <= 2
    expected = len(found.rows) * (1 - answer.exploration.kept)
    assert drawn == pytest.approx(20 * expected, abs=20)
    assert drawn


def test_nothing_is_explored_where_no_ad_is_new_and_without_asking(loop, retriever):
    assert loop.run_until_complete(retriever.retrieve(
        to_query(parse_request(ASKED | {"explore": 0.5}), retriever.bundle.manifest, UNLIMITED))).exploration is None
    old = Retriever(Bundle.open(BUNDLES / "v5"))
    answer = answered(loop, old, 0.5, 1)
    old.close()
    assert answer.exploration.kept == 1
    assert (answer.exploration.propensities == 1).all()
    assert answer.shown.rows.tolist() == answer.found.rows.tolist()


def test_uncalibrated_bundle_explores_by_the_sigmoid_of_its_logits(retriever):
    content = replace(retriever.bundle.content, calibrations=None)
    found = retriever.search(*_searched(retriever))
    of_sigmoid = explored(content, found, Exploring(share=0.5, below=100, seed=1), None)
    assert 0 < of_sigmoid.inclusion.min() <= of_sigmoid.inclusion.max() <= 1


def _searched(retriever):
    query = to_query(parse_request(ASKED), retriever.bundle.manifest, UNLIMITED)
    options = SearchOptions(top_k=20, beam_width=(2, 4), exact=False, task_weights=query.task_weights,
                            excluded=np.empty(0, np.int64), exploring=Exploring(share=0.5, below=100, seed=1))
    return retriever.encode(query), options


def test_replicas_and_explanations_agree_when_the_request_id_does(tiny_bundle):
    asked = ASKED | {"explore": 0.3, "beam_width": [2, 4]}

    async def check(app):
        async def post(path, request_id, **more):
            response = await app.http.post(path, json=asked | more, headers={"x-request-id": request_id})
            assert response.status_code == 200, response.text
            return response.json()

        plain = await post("/retrieve", "r-1", explore=0)
        assert not [ad for ad in plain["ads"] if "propensity" in ad or "explored" in ad]
        reply = await post("/retrieve", "r-1")
        RetrieveReply.model_validate(reply)
        assert (await post("/retrieve", "r-1"))["ads"] == reply["ads"]
        assert all(0 < ad["propensity"] <= 1 for ad in reply["ads"])
        came = [ad for ad in reply["ads"] if ad.get("explored")]
        assert came
        gone = {ad["ad_id"] for ad in plain["ads"]} - {ad["ad_id"] for ad in reply["ads"]}
        assert len(gone) == len(came)
        for ad_id, outcome in [(came[0]["ad_id"], "explored"), (gone.pop(), "displaced")]:
            told = await post("/explain", "r-1", ad_id=ad_id)
            ExplainReply.model_validate(told)
            assert told["outcome"] == outcome
            assert 0 < told["propensity"] <= 1
        kept = next(ad for ad in reply["ads"] if not ad.get("explored"))
        told = await post("/explain", "r-1", ad_id=kept["ad_id"])
        assert (told["outcome"], told["propensity"]) == ("returned", kept["propensity"])
        assert (await post("/explain", "r-1", ad_id=kept["ad_id"], explore=0))["propensity"] is None
        body = "\n".join(json.dumps(asked) for _ in range(2))
        batch = (await app.http.post("/retrieve:batch", content=body, headers={
            "x-request-id": "b", "content-type": "application/x-ndjson"})).json()["answers"]
        assert re.search(r"retrieval_explored_total [1-9]", (await app.http.get("/metrics")).text)
        assert [one["answer"]["ads"] for one in batch] == [(await post("/retrieve", f"b.{n}"))["ads"] for n in (0, 1)]

    in_app(tiny_bundle, check)


def test_setting_explores_where_a_request_does_not_say_but_never_an_exact_one(tiny_bundle):
    async def check(app):
        async def ads(**more):
            return (await app.http.post("/retrieve", json=ASKED | more)).json()["ads"]

        assert all("propensity" in ad for ad in await ads())
        assert not any("propensity" in ad for ad in await ads(exact=True) + await ads(explore=0))
        refused = await app.http.post("/retrieve", json=ASKED | {"exact": True, "explore": 0.1})
        assert refused.status_code == 422
        assert "explore is 0.1, but exact is true" in refused.json()["message"]

    in_app(tiny_bundle, check, explore=0.3, explore_below=100)
