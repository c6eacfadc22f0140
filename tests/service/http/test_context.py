"""Context that the model reads, in one worker: the answer changes with it, the user's embedding does not."""

import numpy as np
import orjson
import pytest

from index_store.bundle.bundle import Bundle
from index_store.value.calibration import sigmoid
from service.contract.info_schemas import InfoReply
from service.contract.query import Query
from service.contract.schemas import ExplainReply
from service.retrieval.retriever import Retriever
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN, call, retrieve


def best_by_night(content):
    """The ad whose embedding points most where the night's row does: no history, so nothing else tells ads apart."""
    towards = content.embeddings[-1] @ content.context.embeddings[0][2]
    return content.encoder.item_ids[content.tree.rows[int(np.argmax(towards))]].decode()


def ads_of(answer):
    return [(ad["ad_id"], ad["score"]) for ad in answer["ads"]]


@pytest.mark.parametrize("searched", [{"exact": True}, {"beam_width": 1000}])
def test_the_hour_decides_the_best_ad_and_the_cached_embedding_is_used_again(context_bundle, searched):
    content = Bundle.open(context_bundle).content

    async def check(app):
        answers = {hour: await retrieve(app, "nobody", context=None if hour is None else {"hour": hour}, **searched)
                   for hour in (None, "night", "day", "noon")}
        assert [answer["user_cache"] for answer in answers.values()] == ["miss", "local", "local", "local"]
        assert answers["night"]["ads"][0]["ad_id"] == best_by_night(content)
        assert ads_of(answers["night"]) != ads_of(answers["day"]) != ads_of(answers[None])
        assert ads_of(answers["noon"]) == ads_of(answers[None])  # as an unknown value of a user's field

    in_app(context_bundle, check)


def test_the_position_that_a_request_names_changes_nothing(context_bundle):
    content = Bundle.open(context_bundle).content

    async def check(app):
        answers = [await retrieve(app, "user-03", exact=True, context=context)
                   for context in (None, {"position": "3"}, {"position": 2}, {"inventory": "kids"})]
        for answer in answers[1:]:
            assert answer["ads"] == answers[0]["ads"]
        ad = answers[0]["ads"][0]
        calibrated = float(sigmoid(content.calibrations.of_task[0](np.array([ad["score"]])))[0])
        assert ad["probabilities"]["click"] == pytest.approx(calibrated, abs=1e-5)

    in_app(context_bundle, check)


def test_explanations_tell_what_the_context_adds(context_bundle, tiny_bundle):
    async def check(app):
        body = {"user_id": "nobody", "ad_id": "ad-0007", "beam_width": 1000}
        scores = {}
        for hour in (None, "day", "night"):
            context = {} if hour is None else {"context": {"hour": hour}}
            reply = (await app.http.post("/explain", json=body | context)).json()
            ExplainReply.model_validate(reply)
            scores[hour] = reply["context"]
            found = await retrieve(app, "nobody", exact=True, top_k=300, **context)
            score = next(ad["score"] for ad in found["ads"] if ad["ad_id"] == "ad-0007")
            assert reply["context"]["score"] == pytest.approx(score, abs=1e-5)
        assert scores[None]["score"] == scores[None]["without"] == scores["day"]["without"]
        assert scores["night"]["score"] != pytest.approx(scores["night"]["without"], abs=0.01)

    async def check_without(app):
        reply = (await app.http.post("/explain", json={"user_id": "nobody", "ad_id": "ad-0007"})).json()
        assert reply["context"] is None

    in_app(context_bundle, check)
    in_app(tiny_bundle, check_without)


def test_info_tells_what_the_model_reads(context_bundle, tiny_bundle):
    async def check(app):
        reply = (await app.http.get("/info")).json()
        InfoReply.model_validate(reply)
        assert reply["model_context"] == {"hour": None, "position": "1"}
        assert set(reply["context"]) == {"hour", "position", "inventory"}

    async def check_without(app):
        assert (await app.http.get("/info")).json()["model_context"] == {}

    in_app(context_bundle, check)
    in_app(tiny_bundle, check_without)


def test_each_line_of_a_batch_has_its_own_context(context_bundle):
    async def check(app):
        lines = b"\n".join(b'{"user_id":"nobody","exact":true,"context":{"hour":"%s"}}' % hour
                           for hour in (b"day", b"night"))
        reply = await app.http.post("/retrieve:batch", content=lines,
                                    headers={"content-type": "application/x-ndjson"})
        found = [one["answer"]["ads"] for one in reply.json()["answers"]]
        alone = [(await retrieve(app, "nobody", exact=True, context={"hour": hour}))["ads"]
                 for hour in ("day", "night")]
        assert found == alone

    in_app(context_bundle, check)


@pytest.mark.parametrize(("context", "said"), [
    ({"weather": "rain"}, "context field 'weather' is unknown"), ({"hour": 1.5}, "context.hour 1.5 is a float"),
    ({"hour": ["day"]}, "context.hour")])
def test_context_that_cannot_be_read_is_refused_alike_in_requests_and_events(context_bundle, tmp_path, context, said):
    async def check(app):
        reply = await app.http.post("/retrieve", json={"user_id": "u", "context": context})
        assert (reply.status_code, reply.json()["error_type"]) == (422, "invalid_context")
        assert said in reply.json()["message"]
        body = orjson.dumps({"user_id": "u", "ad_id": "ad-0001", "type": "click", "context": context})
        status, reply = await call(app, "POST", "/events", body)
        assert (status, reply["error_type"]) == (422, "invalid_context")
        assert reply["message"].startswith("line 1: ")
        assert said in reply["message"]

    in_app(context_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"))


def test_events_carry_their_context_into_the_change_log(context_bundle, tmp_path):
    async def check(app):
        line = b'{"user_id":"u","ad_id":"ad-0001","type":"impression"%s}'
        await call(app, "POST", "/events", b"\n".join(
            line % more for more in (b',"context":{"hour":"night","position":3}', b',"context":{}', b"")))
        changes = (await call(app, "GET", "/changes?after=0"))[1]["changes"]
        assert [one["fields"].get("context") for one in changes] == [{"hour": "night", "position": 3}, None, None]

    in_app(context_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"))


def test_live_calibration_predicts_an_impression_at_its_own_position(context_bundle):
    content = Bundle.open(context_bundle).content
    retriever = Retriever(Bundle.open(context_bundle))
    row = content.tree.position_of_row[[7]].astype(np.int64)
    for context, position in (({}, 1), ({"hour": "night"}, 1), ({"hour": "day", "position": 3}, 3)):
        found = retriever.probabilities_of(b"nobody", b"ad-0007", retriever.sealed, context)
        user = retriever.encode(Query(user_id=b"nobody", top_k=1, task_weights=np.ones(2, np.float32), context=context))
        logits = retriever.scorer.score(retriever.query(user), content.tree.depth, row)
        logits = logits + content.context.shifts[1][position] - content.context.shifts[1][1]
        np.testing.assert_allclose(found, content.calibrations.probabilities(logits)[0], rtol=1e-5)
    retriever.close()


def test_the_answer_names_context_that_counts_as_unknown(context_bundle, tiny_bundle):
    async def check(app):
        for context in (None, {"hour": "noon"}, {"hour": None}, {"position": "3"}):
            assert (await retrieve(app, "user-01", context=context))["unknown_context"] == ["hour"]
        assert (await retrieve(app, "user-01", context={"hour": "night"}))["unknown_context"] == []  # position is fixed

    async def reads_none(app):
        assert (await retrieve(app, "user-01"))["unknown_context"] == []

    in_app(context_bundle, check)
    in_app(tiny_bundle, reads_none)
