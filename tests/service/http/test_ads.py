"""The calls about ads in one worker: replies as documented, every refusal, and that nothing is written then."""

import asyncio
import resource

import pytest
from pydantic import SecretStr

from index_store.changes.change_log import Kind, Write
from service.contract.ad_schemas import AdReply, BatchReply, ChangesReply, WriteReply
from service.contract.errors import STATUS
from service.contract.schemas import ErrorReply, ExplainReply, RetrieveReply
from service.http import change_calls
from service.live.log_place import LogPlace
from tests.resealed import reseal
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN, call, last
from tests.targeted_bundle import write_targeted_bundle

NEW = {"features": {"price": 1.5, "category": "c3", "brand": None, "tags": ["tag-1"]}}
CALLS = [("GET", "/ads/ad-0001", None), ("PUT", "/ads/new", NEW), ("PATCH", "/ads/ad-0001", {"status": "paused"}),
         ("DELETE", "/ads/ad-0001", None), ("POST", "/ads:batch", None), ("GET", "/changes", None)]


@pytest.fixture
def with_log(tiny_bundle, tmp_path):
    """Runs `check(app)` on an application that has a change log and a write token."""
    def run(check, **settings):
        in_app(tiny_bundle, check, **{"write_token": TOKEN, "change_log": str(tmp_path / "log"), **settings})

    return run


async def refused(app, error_type, *request, **headers):
    """The refusal of a call, which has written nothing."""
    before = await last(app)
    status, body = await call(app, *request, **headers)
    ErrorReply.model_validate(body)
    assert (status, body["error_type"]) == (STATUS[error_type], error_type), body
    assert await last(app) == before
    return body


def test_ad_is_paused_resumed_and_deleted_and_each_reply_is_as_documented(with_log):
    async def check(app):
        ad = AdReply.model_validate((await call(app, "GET", "/ads/ad-0001"))[1])
        assert (ad.status, ad.version, ad.changed_at, len(ad.path)) == ("active", 0, None, 3)
        assert ad.bundle_id == app.api.bundles.current.manifest.bundle_id
        for version, (method, body, status) in enumerate(
                [("PATCH", {"status": "paused"}, "paused"), ("PATCH", {"status": "active", "if_version": 1}, "active"),
                 ("DELETE", None, "deleted")], start=1):
            reply = WriteReply.model_validate((await call(app, method, "/ads/ad-0001?wait=applied", body))[1])
            assert reply == WriteReply(ad_id="ad-0001", status=status, version=version, unseen=[], applied=True)
            ad = AdReply.model_validate((await call(app, "GET", "/ads/ad-0001"))[1])
            assert (ad.status, ad.version) == (status, version)
            assert [worker.applied for worker in ad.workers] == [True]
            found = (await app.http.post("/explain", json={"user_id": "user-01", "ad_id": "ad-0001"})).json()
            assert (found["as_of"], found["eligible"]) == (version, status == "active")
            assert (found["refused_by"] or {}).get("by") == (None if status == "active" else status)
        changes = ChangesReply.model_validate((await call(app, "GET", "/changes?after=1&limit=1"))[1])
        assert [(one.sequence, one.id, one.fields) for one in changes.changes] == [
            (2, "ad-0001", {"status": "active"})]
        assert changes.last == 3

    with_log(check)


def test_ad_is_added_answered_with_explained_retargeted_and_deleted(with_log):
    async def check(app):
        body = NEW | {"targeting": {"field": "country", "in": ["country-1"]}}
        body["features"] = body["features"] | {"tags": ["tag-1", "never seen"]}
        reply = WriteReply.model_validate((await call(app, "PUT", "/ads/new?wait=applied", body))[1])
        assert (reply.status, reply.version, reply.unseen) == ("active", 1, ["tags"])
        ad = AdReply.model_validate((await call(app, "GET", "/ads/new"))[1])
        assert (ad.features, ad.targeting, ad.unfit) == (body["features"], body["targeting"], None)
        assert (len(ad.path), ad.path[-1]) == (3, 300)
        user = {"user_id": "somebody", "user_features": {"country": "country-1"}, "top_k": 500, "exact": True}
        answer = (await app.http.post("/retrieve", json=user | {"explain": True})).json()
        (found,) = (one for one in answer["ads"] if one["ad_id"] == "new")
        assert answer["eligible"] == len(answer["ads"]) == 301
        assert [step["node"] for step in found["path"]] == ad.path
        other = user | {"user_features": {"country": "country-2"}}
        assert "new" not in str((await app.http.post("/retrieve", json=other)).json()["ads"])
        told = (await app.http.post("/explain", json=other | {"ad_id": "new"})).json()
        assert told["refused_by"]["by"] == "ad"
        assert told["refused_by"]["clause"] == body["targeting"]
        narrow = user | {"targeting": {"field": "ad_id", "in": ["new", "ad-0001"]}}
        assert {one["ad_id"] for one in (await app.http.post("/retrieve", json=narrow)).json()["ads"]} == {
            "new", "ad-0001"}
        await call(app, "PATCH", "/ads/new?wait=applied", {"targeting": None})
        assert (await app.http.post("/retrieve", json=other)).json()["eligible"] == 301
        assert (await app.http.post("/retrieve", json=other | {"exclude_ad_ids": ["new"]})).json()["eligible"] == 300
        await call(app, "DELETE", "/ads/new?wait=applied")
        assert (await app.http.post("/retrieve", json=user)).json()["eligible"] == 300
        told = (await app.http.post("/explain", json=user | {"ad_id": "new"})).json()
        assert told["refused_by"]["by"] == "deleted"

    with_log(check)


def test_ad_of_the_bundle_is_retargeted_and_gets_its_own_place_with_new_features(with_log):
    async def check(app):
        only = {"targeting": {"field": "country", "in": ["atlantis"]}}
        user = {"user_id": "user-01", "top_k": 500, "exact": True}
        before = (await app.http.post("/retrieve", json=user)).json()
        await call(app, "PATCH", "/ads/ad-0001?wait=applied", only)
        assert (await app.http.post("/retrieve", json=user)).json()["eligible"] == 299
        told = (await app.http.post("/explain", json=user | {"ad_id": "ad-0001"})).json()
        assert (told["refused_by"]["by"], told["refused_by"]["clause"]) == ("ad", only["targeting"])
        await call(app, "PUT", "/ads/ad-0001?wait=applied", NEW)
        after = (await app.http.post("/retrieve", json=user)).json()
        assert sorted(ad["ad_id"] for ad in after["ads"]) == sorted(ad["ad_id"] for ad in before["ads"])
        assert AdReply.model_validate((await call(app, "GET", "/ads/ad-0001"))[1]).path[-1] == 300

    with_log(check)


def test_ad_is_shown_near_a_place_from_the_change_on_and_explain_says_so(tiny_bundle, tmp_path):
    write_targeted_bundle(tiny_bundle, tmp_path / "bundle")

    async def check(app):
        near = {"field": "place", "near": [{"lat": 10.0, "lon": 179.99, "km": 5.0}]}
        await refused(app, "invalid_targeting", "PATCH", "/ads/ad-0000",
                      {"targeting": near | {"near": [near["near"][0] | {"km": -1}]}})
        await call(app, "PATCH", "/ads/ad-0000?wait=applied", {"targeting": near})
        for place, shown in ((None, False), ({"lat": 10.0, "lon": -179.99}, True), ({"lat": 10.0, "lon": 0.0}, False)):
            user = {"user_id": "user-01", "context": {"place": place},
                    "targeting": {"field": "ad_id", "in": ["ad-0000"]}}
            found = (await app.http.post("/retrieve", json=user)).json()
            assert [ad["ad_id"] for ad in found["ads"]] == ["ad-0000"] * shown
            assert found["empty"] is None if shown else found["empty"]["by"] == "request"
            told = (await app.http.post("/explain", json=user | {"ad_id": "ad-0000"})).json()
            assert (told["refused_by"] is None) == shown
            if not shown:
                assert [told["refused_by"][name] for name in ("by", "path", "clause")] == ["ad", "targeting", near]

    in_app(tmp_path / "bundle", check, write_token=TOKEN, change_log=str(tmp_path / "log"))


def test_bid_is_changed_withdrawn_and_given_to_a_new_ad_and_ranks_from_then_on(with_log):
    async def check(app):
        async def ecpm(ad_id):
            body = {"user_id": "user-01", "top_k": 500, "exact": True, "rank_by": "ecpm"}
            answer = RetrieveReply.model_validate((await app.http.post("/retrieve", json=body)).json())
            rank, found = next((at, ad) for at, ad in enumerate(answer.ads) if ad.ad_id == ad_id)
            ad = AdReply.model_validate((await call(app, "GET", f"/ads/{ad_id}"))[1])
            assert ad.bid == found.bid
            return rank, found.ecpm

        bid = {"micros": 10**11, "type": "CPM"}
        await call(app, "PATCH", "/ads/ad-0001?wait=applied", {"bid": bid})
        assert await ecpm("ad-0001") == (0, 10**11)
        await call(app, "PATCH", "/ads/ad-0001?wait=applied", {"bid": bid | {"type": "CPA"}, "status": "active"})
        assert (await ecpm("ad-0001"))[1] < 10**14
        await call(app, "PUT", "/ads/new?wait=applied", NEW | {"bid": {"micros": 10**12, "type": "CPM"}})
        assert await ecpm("new") == (1, 10**12)
        await call(app, "PATCH", "/ads/new?wait=applied", {"bid": None})
        assert (await ecpm("new"))[1] == 0
        await call(app, "PATCH", "/ads/new?wait=applied", {"bid": bid})
        await call(app, "PUT", "/ads/new?wait=applied", NEW)
        assert (await ecpm("new"))[1] == 0
        told = ExplainReply.model_validate((await app.http.post("/explain", json={
            "user_id": "user-01", "ad_id": "new", "rank_by": "ecpm", "floor": 1, "top_k": 400, "exact": True})).json())
        assert (told.outcome, told.ecpm) == ("below_floor", 0)

    with_log(check)


def test_batch_writes_all_lines_in_order(with_log):
    async def check(app):
        body = b"".join(b'{"op":"%s","ad_id":"ad-%04d"%s}\n' % line for line in [
            (b"patch", 1, b',"status":"paused"'), (b"delete", 2, b""), (b"patch", 1, b',"status":"active"')])
        reply = BatchReply.model_validate((await call(app, "POST", "/ads:batch?wait=applied", body))[1])
        assert (reply.versions, reply.applied) == ([1, 2, 3], True)
        answer = (await app.http.post("/retrieve", json={"user_id": "user-01"})).json()
        assert (answer["as_of"], answer["eligible"]) == (3, 299)

    with_log(check)


def test_call_is_refused_when_it_does_not_fit(with_log):
    async def check(app):
        await call(app, "DELETE", "/ads/ad-0009")
        paused = {"status": "paused"}
        good = b'{"op":"delete","ad_id":"ad-0001"}\n'
        for error_type, *request in [
                ("ad_not_found", "PATCH", "/ads/none", paused), ("ad_not_found", "DELETE", "/ads/a/b"),
                ("ad_not_found", "GET", "/ads/none"), ("version_conflict", "DELETE", "/ads/ad-0001?if_version=3"),
                ("ad_deleted", "PATCH", "/ads/ad-0009", {"status": "active", "if_version": 3}),
                ("invalid_value", "PATCH", "/ads/ad-0001", {"status": "deleted"}),
                ("unknown_field", "PATCH", "/ads/ad-0001", {"status": "paused", "budget": 1}),
                *(("invalid_value", method, "/ads/ad-0001", body | {"bid": bid}) for method, body in (
                    ("PATCH", {}), ("PUT", NEW)) for bid in (
                    {"micros": -1, "type": "CPC"}, {"micros": 10**13, "type": "CPC"}, {"micros": 5, "type": "CPX"},
                    {"micros": 1.5, "type": "CPC"}, {"micros": 5}, {"micros": 5, "type": "CPC", "currency": "XXX"})),
                ("invalid_value", "POST", "/ads:batch",
                 good + b'{"op":"patch","ad_id":"ad-0001","bid":{"micros":0,"type":"CPM"}}'),
                ("invalid_value", "PATCH", "/ads/ad-0001", {}), ("missing_field", "PUT", "/ads/new", {}),
                ("invalid_feature", "PUT", "/ads/new", {"features": {}}),
                ("invalid_feature", "PUT", "/ads/new", {"features": NEW["features"] | {"price": "much"}}),
                ("unknown_feature", "PUT", "/ads/new", {"features": NEW["features"] | {"colour": "red"}}),
                ("invalid_targeting", "PUT", "/ads/new", NEW | {"targeting": {"field": "planet", "in": []}}),
                ("invalid_targeting", "PATCH", "/ads/ad-0001", {"targeting": {"all": [{"field": "age"}]}}),
                ("ad_deleted", "PUT", "/ads/ad-0009", NEW), ("invalid_value", "PUT", "/ads/" + "x" * 129, NEW),
                ("invalid_feature", "POST", "/ads:batch", good + b'{"op":"put","ad_id":"new","features":{}}'),
                ("invalid_value", "PATCH", "/ads/" + "x" * 129, paused),
                ("invalid_value", "PATCH", "/ads/ad-0001?wait=seen", paused),
                ("unknown_field", "DELETE", "/ads/ad-0001?now=1"), ("invalid_value", "GET", "/changes?limit=0"),
                ("unsupported_media_type", "PATCH", "/ads/ad-0001", b"{}"),
                ("unsupported_media_type", "POST", "/ads:batch", {}), ("invalid_value", "POST", "/ads:batch", b"\n"),
                ("invalid_line", "POST", "/ads:batch", good + b"no"), ("not_found", "GET", "/ads/"),
                ("ad_not_found", "POST", "/ads:batch", good + b'{"op":"delete","ad_id":"none"}'),
                ("ad_deleted", "POST", "/ads:batch", good + b'{"op":"patch","status":"active","ad_id":"ad-0009"}'),
                ("method_not_allowed", "POST", "/ads/ad-0001", paused), ("body_too_large", "POST", "/ads:batch",
                                                                         good * 10_000)]:
            body = await refused(app, error_type, *request)
            if request[1] == "/ads:batch" and error_type in (
                    "ad_not_found", "ad_deleted", "invalid_line", "invalid_feature"):
                assert body["message"].startswith("line 2")
        await refused(app, "invalid_value", "DELETE", "/ads/ad-0001", idempotency_key="a b")
        assert "version 0, if_version is 3" in (await refused(
            app, "version_conflict", "DELETE", "/ads/ad-0001?if_version=3"))["message"]

    with_log(check)


def test_repeated_call_changes_nothing_when_it_has_the_key_of_the_first(with_log):
    async def check(app):
        pause = ("PATCH", "/ads/ad-0001", {"status": "paused"})
        for _ in range(2):
            assert (await call(app, *pause, idempotency_key="one"))[1]["version"] == 1
        assert await last(app) == 1
        await refused(app, "key_reused", "DELETE", "/ads/ad-0001", idempotency_key="one")
        batch = ("POST", "/ads:batch", b'{"op":"delete","ad_id":"ad-0002"}\n{"op":"delete","ad_id":"ad-0003"}')
        assert (await call(app, *batch, idempotency_key="two"))[1]["versions"] == [2, 3]
        assert (await call(app, *batch, idempotency_key="two"))[1]["versions"] == [2, 3]
        assert await last(app) == 3

    with_log(check)


def test_calls_are_refused_when_the_token_is_wrong_or_missing_in_the_settings(with_log):
    async def wrong(app):
        for method, path, body in CALLS:
            status, reply = await call(app, method, path, body, authorization="Bearer no")
            assert (status, reply["error_type"]) == (401, "unauthorized")
            assert "RETRIEVAL_WRITE_TOKEN" in reply["help"]
        assert await last(app) == 0

    async def disabled(app):
        for method, path, body in CALLS:
            assert (await call(app, method, path, body))[1]["error_type"] == "writes_disabled"
        assert (await app.http.post("/retrieve", json={"user_id": "user-01"})).status_code == 200

    with_log(wrong)
    with_log(disabled, write_token=" ")


def test_calls_are_refused_when_there_is_no_change_log_or_the_service_drains(with_log):
    async def none(app):
        for method, path, body in CALLS:
            status, reply = await call(app, method, path, body)
            assert (status, reply["error_type"]) == (409, "no_change_log")
            assert "RETRIEVAL_CHANGE_LOG" in reply["help"]

    async def draining(app):
        app.api.draining = True
        for method, path, body in CALLS:
            assert (await call(app, method, path, body))[1]["error_type"] == "draining"

    with_log(none, change_log=None)
    with_log(draining)


def test_retrieve_goes_on_and_calls_about_ads_are_refused_when_the_log_cannot_be_used(with_log, tmp_path):
    async def check(app):
        await call(app, "DELETE", "/ads/ad-0001?wait=applied")
        moved = (tmp_path / "log").rename(tmp_path / "moved")
        for method, path, body in CALLS:
            sent = b'{"op":"delete","ad_id":"ad-0001"}' if path == "/ads:batch" else body
            assert (await call(app, method, path, sent))[1]["error_type"] == "change_log_unavailable"
        answer = (await app.http.post("/retrieve", json={"user_id": "user-01"})).json()
        assert (answer["as_of"], answer["eligible"]) == (1, 299)
        moved.rename(tmp_path / "log")
        assert (await call(app, "PATCH", "/ads/ad-0002?wait=applied", {"status": "paused"}))[0] == 200

    with_log(check)


def test_reply_says_that_a_write_is_durable_when_it_is_not_applied_in_time(with_log, monkeypatch):
    monkeypatch.setattr(change_calls, "APPLIED_SECONDS", 0.2)

    async def check(app):
        await asyncio.to_thread(app.api._follower.close)
        status, body = await call(app, "DELETE", "/ads/ad-0001?wait=applied")
        assert (status, body["error_type"]) == (503, "not_applied")
        assert "change 1 is durable" in body["message"]
        assert await last(app) == 1
        assert (await call(app, "DELETE", "/ads/ad-0002"))[1]["applied"] is False

    with_log(check)


def test_writes_are_refused_and_requests_answered_while_the_disk_is_full(with_log, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def check(app):
        async def answer():
            found = (await app.http.post("/retrieve", json={"user_id": "user-01"})).json()
            return found["as_of"], found["eligible"]

        await call(app, "PATCH", "/ads/ad-0001?wait=applied", {"status": "paused"})
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "log-wal").stat().st_size, limits[1]))
        try:
            for _ in range(2):
                refusal = await refused(app, "change_log_unavailable", "PATCH", "/ads/ad-0002", {"status": "paused"})
                assert "cannot be written" in refusal["message"]
                assert await answer() == (1, 299)
            assert (await call(app, "GET", "/ads/ad-0001"))[1]["version"] == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (await call(app, "PATCH", "/ads/ad-0002?wait=applied", {"status": "paused"}))[1]["version"] == 2
        assert await answer() == (2, 298)

    with_log(check)


def test_calls_are_refused_when_too_many_wait(with_log, monkeypatch):
    monkeypatch.setattr("service.live.log_writer._MOST_WAITING", 0)

    async def check(app):
        assert (await call(app, "GET", "/changes"))[1]["error_type"] == "overloaded"

    with_log(check)


def test_ad_of_another_bundle_has_a_status_and_no_place_and_can_come_back(with_log, tmp_path):
    log = LogPlace(SecretStr(str(tmp_path / "log"))).open()
    log.append([Write(kind=Kind.AD, id="elsewhere", fields={"status": "paused"})])
    log.close()

    async def check(app):
        ad = AdReply.model_validate((await call(app, "GET", "/ads/elsewhere"))[1])
        assert (ad.status, ad.version, ad.path) == ("paused", 1, None)
        assert (await call(app, "PATCH", "/ads/elsewhere?wait=applied", {"status": "active"}))[1]["version"] == 2
        answer = (await app.http.post("/retrieve", json={"user_id": "user-01"})).json()
        assert (answer["as_of"], answer["eligible"]) == (2, 300)

    with_log(check)


def test_ad_keeps_its_status_and_version_when_its_changes_were_trimmed(tiny_bundle, tmp_path):
    log = LogPlace(SecretStr(str(tmp_path / "log"))).open()
    log.append([Write(kind=Kind.AD, id=f"ad-{row:04d}", fields={"status": "paused"}) for row in (1, 2, 1)])
    log.trim(3)
    log.close()
    reseal(tiny_bundle, tmp_path / "later", lambda writer: None, changes_included=3)

    async def check(app):
        ad = AdReply.model_validate((await call(app, "GET", "/ads/ad-0001"))[1])
        assert (ad.status, ad.version, [worker.applied for worker in ad.workers]) == ("paused", 3, [True])
        status, refused = await call(app, "GET", "/changes?after=2")
        assert (status, refused["error_type"]) == (410, "changes_trimmed")
        assert refused["message"] == "the changes up to 3 were removed, those after 2 are asked for"
        assert (await call(app, "GET", "/changes?after=3"))[1] == {"changes": [], "last": 3}
        answer = (await app.http.post("/retrieve", json={"user_id": "user-01"})).json()
        assert (answer["as_of"], answer["eligible"]) == (3, 298)
        body = {"status": "active", "if_version": 3}
        assert (await call(app, "PATCH", "/ads/ad-0001?wait=applied", body))[1]["version"] == 4
        answer = (await app.http.post("/retrieve", json={"user_id": "user-01"})).json()
        assert (answer["as_of"], answer["eligible"]) == (4, 299)

    in_app(tmp_path / "later", check, write_token=TOKEN, change_log=str(tmp_path / "log"))
