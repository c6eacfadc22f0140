"""Reply bodies against the schemas that document them."""

import asyncio
import json

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.contract.replies import explanation_body, latency, reply_body, server_timing
from service.contract.schemas import ExplainReply, ExplainRequest, RetrieveReply
from service.retrieval.retriever import Retriever
from tests.index_store.live.changed import changes
from tests.paths import BUNDLES
from tests.resealed import reseal
from tests.tiny_bundle import CALIBRATIONS


@pytest.fixture(scope="module")
def retriever(tiny_bundle):
    opened = Retriever(Bundle.open(tiny_bundle))
    yield opened
    opened.close()


def answered(retriever, schema=ExplainRequest, snapshot=None, **body):
    query = to_query(parse_request({"user_id": "user-01", "ad_id": "ad-0001", **body}, schema),
                     retriever.bundle.manifest, UNLIMITED)
    return asyncio.run(retriever.retrieve(query, snapshot=snapshot))


def body_of(answer, manifest):
    return json.loads(reply_body(answer, manifest, "an-id", latency(answer, 0.5)))


def test_body_is_as_documented_when_an_answer_is_written(retriever):
    answer = answered(retriever, explain=True, user_features={"history": ["ad-0001", "none"]})
    body = body_of(answer, retriever.bundle.manifest)
    RetrieveReply.model_validate(body)
    assert (body["request_id"], body["history"]) == ("an-id", {"known": 1, "unknown": 1})
    assert body["as_of"] == 0
    assert [ad["ad_id"] for ad in body["ads"]] == answer.ad_ids
    for ad, logits in zip(body["ads"], answer.found.logits, strict=True):
        assert ad["probabilities"] == pytest.approx(
            dict(zip(("click", "convert"), CALIBRATIONS.probabilities(logits[None])[0], strict=True)), abs=1e-6)
        assert len(ad["path"]) == 3


def test_probabilities_are_left_out_when_the_bundle_is_not_calibrated(tiny_bundle, retriever, tmp_path):
    manifest = reseal(tiny_bundle, tmp_path / "bundle", lambda writer: None, calibrated=False)
    opened = Retriever(Bundle.open(tmp_path / "bundle"))
    assert set(body_of(answered(opened), manifest)["ads"][0]) == {"ad_id", "score"}
    opened.close()


def test_probabilities_are_sigmoids_when_an_older_bundle_holds_no_calibration(tmp_path):
    opened = Retriever(Bundle.open(BUNDLES / "v5"))
    answer = answered(opened)
    np.testing.assert_allclose(answer.probabilities, 1 / (1 + np.exp(-answer.found.logits.astype(np.float64))),
                               atol=1e-6)
    opened.close()


def test_body_holds_ecpm_bid_and_probabilities_when_they_rank(retriever):
    answer = answered(retriever, rank_by="ecpm", exact=True, top_k=300)
    body = body_of(answer, retriever.bundle.manifest)
    RetrieveReply.model_validate(body)
    assert sum(ad["bid"] is None for ad in body["ads"]) == 60
    for ad in body["ads"]:
        bid = ad["bid"] or {"micros": 0, "type": "CPM"}
        rate = {"CPM": 1, "CPC": 1000 * ad["probabilities"]["click"], "CPA": 1000 * ad["probabilities"]["convert"]}
        assert ad["ecpm"] == pytest.approx(bid["micros"] * rate[bid["type"]], rel=1e-5)
    assert [ad["ecpm"] for ad in body["ads"]] == sorted((ad["ecpm"] for ad in body["ads"]), reverse=True)
    floor = round(body["ads"][9]["ecpm"]) - 1
    answer = answered(retriever, rank_by="ecpm", exact=True, top_k=300, floor=floor, ad_id=body["ads"][10]["ad_id"])
    assert answer.ad_ids == [ad["ad_id"] for ad in body["ads"][:10]]
    told = json.loads(explanation_body(answer.explanation, answer, retriever.bundle.manifest, "an-id"))
    ExplainReply.model_validate(told)
    assert (told["outcome"], told["rank"], told["ecpm"]) == ("below_floor", 11, body["ads"][10]["ecpm"])
    assert told["kth_ecpm"] == body["ads"][9]["ecpm"]


def test_explanation_is_as_documented_when_an_ad_is_excluded(retriever):
    answer = answered(retriever, exclude_ad_ids=["ad-0001"])
    body = json.loads(explanation_body(answer.explanation, answer, retriever.bundle.manifest, "an-id"))
    ExplainReply.model_validate(body)
    assert (body["outcome"], body["refused_by"]["by"], body["history"]) == ("filtered", "exclude_ad_ids", None)


def test_header_holds_the_stages_of_the_body_when_times_are_written(retriever):
    stages = latency(answered(retriever), 0.5)
    assert stages["total"] == 500.0
    parts = dict(part.split(";dur=") for part in server_timing(stages).split(", "))
    assert parts == {name: str(ms) for name, ms in stages.items() if name != "levels"} | {
        f"level_{level['level']}": str(level["ms"]) for level in stages["levels"]}


@pytest.mark.parametrize("status", ["paused", "deleted"])
def test_explanation_names_status_and_version_when_a_change_withdraws_the_ad(retriever, status):
    snapshot = retriever.sealed.with_changes(changes(("ad-0002", "paused"), ("ad-0001", status)))
    answer = answered(retriever, snapshot=snapshot, exclude_ad_ids=["ad-0001"])
    body = json.loads(explanation_body(answer.explanation, answer, retriever.bundle.manifest, "an-id"))
    ExplainReply.model_validate(body)
    assert (body["outcome"], body["eligible"], body["as_of"]) == ("filtered", False, 2)
    assert body["refused_by"] == {"by": status, "path": "status", "clause": None, "version": 2, "campaign": None,
                                  "until": None, "probability": None}
    assert body_of(answer, retriever.bundle.manifest)["as_of"] == 2
