"""POST /retrieve on the planted world: the right ads, and a reply that keeps its contract."""

import json
import socket

import pytest

from service.contract.schemas import RetrieveReply

HISTORY_OF_C5 = {"history": ["ad-0005", "ad-0017"]}


def category(ad):
    return int(ad["ad_id"].removeprefix("ad-")) % 12


def test_ads_share_the_category_of_the_history_when_click_ranks(service):
    reply = service.retrieve(user_id="guest", top_k=25, user_features=HISTORY_OF_C5)
    assert [category(ad) for ad in reply["ads"]] == [5] * 25
    assert reply["user"] == "inline"


def test_reply_fits_its_documentation_when_asked_plainly(service):
    reply = service.retrieve(user_id="user-03")
    RetrieveReply.model_validate(reply)
    assert len(reply["ads"]) == 10
    assert reply["user"] == "known"
    assert reply["coverage"] == 1.0
    assert reply["degraded"] == []
    assert reply["pairs_scored"] == sum(level["scored"] for level in reply["latency_ms"]["levels"])
    scores = [ad["score"] for ad in reply["ads"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= p <= 1 for ad in reply["ads"] for p in ad["probabilities"].values())


def test_beam_answers_as_exhaustive_when_it_is_as_wide_as_the_tree(service):
    exact = service.retrieve(user_id="user-04", top_k=50, exact=True)
    beam = service.retrieve(user_id="user-04", top_k=50, beam_width=1000)
    assert beam["ads"] == exact["ads"]
    assert exact["pairs_scored"] == 300
    assert [level["scored"] for level in beam["latency_ms"]["levels"]] == [0, 0, 300]


def test_levels_follow_the_beam_when_one_is_given_for_each(service):
    reply = service.retrieve(user_id="user-04", top_k=1, beam_width=[1, 2])
    levels = reply["latency_ms"]["levels"]
    assert [level["level"] for level in levels] == [1, 2, 3]
    assert levels[1]["candidates"] == 6  # children of one node
    assert levels[2]["candidates"] in (24, 25, 26)  # ads of two nodes of 12 or 13


def test_answer_is_the_golden_one_when_the_request_is(service, tiny_bundle):
    for golden in json.loads((tiny_bundle / "golden.json").read_text()):
        reply = service.retrieve(**golden["request"])
        assert [ad["ad_id"] for ad in reply["ads"]] == [ad["ad_id"] for ad in golden["ads"]]
        assert [ad["score"] for ad in reply["ads"]] == pytest.approx([ad["score"] for ad in golden["ads"]], abs=1e-4)


def test_user_is_unknown_when_nothing_is_known_of_them(service):
    reply = service.retrieve(user_id="never-seen")
    assert reply["user"] == "unknown"
    assert len(reply["ads"]) == 10
    assert service.retrieve(user_id="nor-this-one")["ads"] == reply["ads"]


def test_stored_features_stay_when_only_the_history_is_replaced(service):
    stored = service.retrieve(user_id="user-06", exact=True)
    replaced = service.retrieve(user_id="user-06", exact=True, user_features=HISTORY_OF_C5)
    stranger = service.retrieve(user_id="stranger", exact=True, user_features=HISTORY_OF_C5)
    assert replaced["user"] == "inline"
    assert {category(ad) for ad in replaced["ads"]} == {5}
    assert replaced["ads"] != stored["ads"]
    # The towers see the stored age, country and interests: same ads to choose from, other scores.
    assert [ad["score"] for ad in replaced["ads"]] != [ad["score"] for ad in stranger["ads"]]


@pytest.mark.parametrize(("history", "known", "unknown"), [
    (["ad-0005", "ad-0017"], 2, 0), (["ad-0005", "none", 7, "ad-0005"], 2, 2), (["none", "nor-this"], 0, 2),
    ([], 0, 0), ([f"ad-{i:04d}" for i in range(30)], 30, 0)])
def test_ids_of_an_inline_history_are_counted_when_the_bundle_knows_some(service, history, known, unknown):
    asked = {"user_id": "guest", "user_features": {"history": history}}
    reply = service.retrieve(**asked)
    RetrieveReply.model_validate(reply)
    assert reply["history"] == {"known": known, "unknown": unknown}
    assert service.http.post("/explain", json=asked | {"ad_id": "ad-0001"}).json()["history"] == reply["history"]
    if not known:
        assert reply["ads"] == service.retrieve(user_id="nobody")["ads"]


def test_history_is_null_when_a_request_gives_none(service):
    assert service.retrieve(user_id="user-03")["history"] is None
    assert service.retrieve(user_id="user-03", user_features={"age": 30})["history"] is None


def test_user_counts_as_known_when_the_given_features_are_empty(service):
    assert service.retrieve(user_id="user-06", user_features={})["user"] == "known"


def test_excluded_ads_are_absent_when_they_were_the_best(service):
    first = service.retrieve(user_id="user-07", top_k=20, exact=True)["ads"]
    gone = [ad["ad_id"] for ad in first[:5]]
    left = service.retrieve(user_id="user-07", top_k=15, exact=True, exclude_ad_ids=[*gone, gone[0]])["ads"]
    assert left == first[5:]


def test_answer_is_unchanged_when_a_thousand_excluded_ids_do_not_exist(service):
    plain = service.retrieve(user_id="user-07")["ads"]
    assert service.retrieve(user_id="user-07", exclude_ad_ids=[f"none-{i}" for i in range(999)] + [7])["ads"] == plain


def test_reply_is_empty_when_every_ad_is_excluded(service):
    reply = service.retrieve(user_id="user-07", exclude_ad_ids=[f"ad-{i:04d}" for i in range(300)])
    assert reply["ads"] == []
    assert reply["pairs_scored"] == 0


def test_all_remaining_ads_return_when_top_k_exceeds_them(service):
    excluded = [f"ad-{i:04d}" for i in range(295)]
    reply = service.retrieve(user_id="user-07", top_k=100, beam_width=1, exclude_ad_ids=excluded)
    assert sorted(ad["ad_id"] for ad in reply["ads"]) == [f"ad-{i:04d}" for i in range(295, 300)]


def test_score_is_the_weighted_sum_of_logits_when_tasks_are_weighed(service):
    def scores(weights):
        ads = service.retrieve(user_id="user-08", top_k=300, exact=True, task_weights=weights)["ads"]
        return {ad["ad_id"]: ad["score"] for ad in ads}

    click, convert, both = scores({"click": 1}), scores({"convert": 1}), scores({"click": 2.0, "convert": 0.5})
    assert both == pytest.approx({ad: 2 * click[ad] + 0.5 * convert[ad] for ad in click}, abs=1e-4)
    assert scores({}) == scores(None) == click


def test_null_counts_as_absent_when_a_client_sends_all_fields(service):
    nulls = dict.fromkeys(["top_k", "user_features", "beam_width", "task_weights", "exclude_ad_ids"])
    assert service.retrieve(user_id="user-08", **nulls)["ads"] == service.retrieve(user_id="user-08")["ads"]


@pytest.mark.parametrize(("sent", "kept"), [("abc-1.2:3_X", True), ("x" * 64, True), ("x" * 65, False), ("a b", False),
                                            ("{}", False), ("", False)])
def test_request_id_is_the_callers_when_it_is_sane(service, sent, kept):
    response = service.http.post("/retrieve", json={"user_id": "u"}, headers={"X-Request-ID": sent})
    found = response.headers["x-request-id"]
    assert found == response.json()["request_id"]
    assert (found == sent) == kept


def test_times_agree_in_reply_header_and_log_when_a_request_is_answered(service):
    response = service.http.post("/retrieve", json={"user_id": "user-secret", "top_k": 7},
                                 headers={"X-Request-ID": "times-agree"})
    stages = response.json()["latency_ms"]
    line = service.wait_until(lambda: next((e for e in service.events if e.get("request_id") == "times-agree"), None))
    assert line["latency_ms"] == stages
    assert line["status"] == 200
    assert line["ads"] == 7
    header = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert {name: float(ms) for name, ms in header.items() if not name.startswith("level_")} == {
        name: ms for name, ms in stages.items() if name != "levels"}
    assert [float(header[f"level_{n}"]) for n in (1, 2, 3)] == [level["ms"] for level in stages["levels"]]


def test_log_names_neither_user_nor_features_when_they_are_sent(service):
    service.http.post("/retrieve", headers={"X-Request-ID": "secrets"},
                      json={"user_id": "secret-user", "user_features": {"country": "secret-country", "age": 987654.25}})
    service.http.post("/retrieve", json={"user_id": "secret-user", "user_features": {"secret-field": 1}})
    service.wait_until(lambda: [e for e in service.events if e.get("request_id") == "secrets"])
    assert "secret-" not in "".join(service.lines)
    assert "987654.25" not in "".join(service.lines)



def test_next_request_is_answered_when_a_client_went_away_within_its_body(service):
    before = service.metrics().get(GONE, 0)
    with socket.create_connection((service.http.base_url.host, service.http.base_url.port)) as raw:
        raw.sendall(b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 100\r\n\r\n{")
    service.wait_until(lambda: service.metrics().get(GONE, 0) == before + 1)
    assert service.retrieve(user_id="user-01")["ads"]


GONE = 'retrieval_requests_total{endpoint="/retrieve",error_type="",status="499"}'


def test_info_tells_what_a_caller_may_send_when_asked(service, tiny_bundle):
    info = service.http.get("/info").json()
    assert info["tasks"] == ["click", "convert"]
    assert info["scorer"].startswith("ONNX Runtime: the bundle has no arrays for the kernel")
    assert info["user_features"] == {"age": "dense", "country": "categorical", "interests": "multi"}
    assert info["limits"] == {"max_top_k": 1000, "max_beam_width": 10000, "max_excluded": 10000,
                              "min_timeout_ms": 2.0, "max_body_bytes": 262144}
    assert info["bundle"]["bundle_id"] == json.loads((tiny_bundle / "manifest.json").read_text())["bundle_id"]
    assert service.http.get("/livez").json() == {"status": "alive"}
    assert service.http.get("/readyz").json() == {"status": "ready", "bundle_id": info["bundle"]["bundle_id"]}
