"""The calls that show what a bundle does: who may make them, replies as documented, refusals."""

import asyncio

import pytest

from index_store.bundle.files import BundleFiles
from service.contract.console_schemas import AdsReply, MetricsReply, ReachReply, TreeReply, WalkReply
from service.contract.errors import STATUS
from service.contract.schemas import RetrieveReply
from service.http import inspection
from tests.service.http.app_in_process import in_app
from tests.targeted_bundle import write_targeted_bundle
from tests.tiny_bundle import write_tiny_bundle

TOKEN = "for operators"
QUERY = {"user_id": "user-04", "top_k": 5}
CALLS = [("POST", "/admin/walk", QUERY), ("POST", "/admin/ads", {"ad_ids": ["ad-0001"]}),
         ("GET", "/admin/reach/ad-0001", None), ("GET", "/admin/tree", None), ("GET", "/admin/metrics", None),
         ("POST", "/admin/bundles/retrieve", {**QUERY, "bundle": "other"})]


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    """The tiny bundle with targeting; another one lies beside it."""
    store = tmp_path_factory.mktemp("store")
    write_targeted_bundle(tiny_bundle, store / "targeted")
    write_tiny_bundle(store / "other", seed=3)
    return store / "targeted"


async def called(app, method, path, body=None, token=TOKEN):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return await app.http.request(method, path, json=body, headers=headers)


async def refused(app, error_type, *request):
    reply = await called(app, *request)
    assert (reply.status_code, reply.json()["error_type"]) == (STATUS[error_type], error_type), reply.text
    return reply.json()


def in_console(bundle, check, **settings):
    in_app(bundle, check, **{"admin_token": TOKEN, **settings})


def test_every_call_is_refused_without_the_admin_token(bundle):
    async def check(app):
        for call in CALLS:
            for token, status in ((None, 401), ("wrong", 401), ("reader", 403)):
                assert (await called(app, *call, token=token)).status_code == status

    in_console(bundle, check, read_token="reader")


def test_every_call_is_refused_when_the_service_has_no_admin_token(bundle):
    async def check(app):
        for call in CALLS:
            await refused(app, "admin_disabled", *call)

    in_app(bundle, check)


def test_walk_agrees_with_the_answer_when_both_are_asked_for(bundle):
    async def check(app):
        body = {**QUERY, "beam_width": [2, 3]}
        walk = WalkReply.model_validate((await called(app, "POST", "/admin/walk", body)).json(), strict=True)
        answer = RetrieveReply.model_validate((await app.http.post("/retrieve", json=body)).json())
        assert [node.ad_id for node in walk.levels[-1].nodes if node.kept] == [ad.ad_id for ad in answer.ads]
        assert (walk.eligible, walk.pairs_scored, walk.ads) == (answer.eligible, answer.pairs_scored, 300)
        await refused(app, "unknown_feature", "POST", "/admin/walk", {**QUERY, "user_features": {"no": 1}})
        await refused(app, "invalid_targeting", "POST", "/admin/walk", {**QUERY, "targeting": {"all": 1}})
        await refused(app, "unknown_field", "POST", "/admin/walk", {**QUERY, "no": 1})

    in_console(bundle, check)


def test_ads_are_described_in_the_order_asked_for_and_unknown_ones_left_out(bundle):
    async def check(app):
        reply = await called(app, "POST", "/admin/ads", {"ad_ids": ["ad-0002", "no-such-ad", "ad-0000"]})
        found = AdsReply.model_validate(reply.json(), strict=True)
        assert [ad.ad_id for ad in found.ads] == ["ad-0002", "ad-0000"]
        assert found.ads[0].targeting["all"][0] == {"field": "age", "at_least": 40.0}
        await refused(app, "invalid_value", "POST", "/admin/ads", {"ad_ids": [""]})
        await refused(app, "invalid_value", "POST", "/admin/ads", {"ad_ids": ["a"] * 1001})

    in_console(bundle, check)


def test_reach_counts_what_became_of_the_ad_in_recent_requests(bundle):
    async def check(app):
        first = (await app.http.post("/retrieve", json=QUERY)).json()["ads"][0]["ad_id"]
        await app.http.post("/retrieve", json={**QUERY, "targeting": {"field": "category", "in": ["none such"]}})
        reply = await called(app, "GET", f"/admin/reach/{first}")
        found = ReachReply.model_validate(reply.json(), strict=True)
        assert (found.requests, found.outcomes) == (2, {"returned": 1, "filtered": 1})
        assert found.filtered_by == {"request": 1}
        assert (found.status, found.users.known, found.ad.ad_id) == ("active", 40, first)
        await refused(app, "ad_not_found", "GET", "/admin/reach/no-such-ad")

    in_console(bundle, check)


def test_reach_names_the_status_when_the_ad_is_paused(bundle, tmp_path):
    async def check(app):
        await app.http.post("/retrieve", json=QUERY)
        await app.http.patch("/ads/ad-0004?wait=applied", json={"status": "paused"},
                             headers={"authorization": "Bearer w"})
        found = ReachReply.model_validate((await called(app, "GET", "/admin/reach/ad-0004")).json(), strict=True)
        assert (found.status, found.outcomes, found.filtered_by) == ("paused", {"filtered": 1}, {"paused": 1})

    in_console(bundle, check, write_token="w", change_log=str(tmp_path / "log"))


def test_tree_is_listed_from_the_root_to_the_ads(bundle):
    async def check(app):
        await app.http.post("/retrieve", json=QUERY)
        root = TreeReply.model_validate((await called(app, "GET", "/admin/tree")).json(), strict=True)
        assert (root.levels, root.path, root.requests, root.level, root.total) == ([4, 24, 300], [], 1, 1, 4)
        below = TreeReply.model_validate((await called(app, "GET", "/admin/tree?level=1&node=2")).json(), strict=True)
        assert (below.path, below.level, below.total) == ([2], 2, 6)
        ads = TreeReply.model_validate((await called(app, "GET", "/admin/tree?level=2&node=13")).json(), strict=True)
        assert (ads.path, ads.level, {node.ads for node in ads.nodes}) == ([2, 13], 3, {1})
        for query in ("level=3&node=0", "level=0&node=1", "level=1&node=4"):
            assert "4, 24" in (await refused(app, "not_found", "GET", f"/admin/tree?{query}"))["help"]
        await refused(app, "invalid_value", "GET", "/admin/tree?level=-1")
        await refused(app, "unknown_field", "GET", "/admin/tree?depth=1")

    in_console(bundle, check)


def test_traffic_is_measured_once_for_calls_in_quick_succession(bundle):
    async def check(app):
        await called(app, "GET", "/admin/tree")
        await app.http.post("/retrieve", json=QUERY)
        assert (await called(app, "GET", "/admin/tree")).json()["requests"] == 0

    in_console(bundle, check)


def test_traffic_is_measured_anew_after_a_while(bundle, monkeypatch):
    monkeypatch.setattr(inspection, "_TRAFFIC_SECONDS", 0.0)

    async def check(app):
        await called(app, "GET", "/admin/tree")
        await app.http.post("/retrieve", json=QUERY)
        async with asyncio.timeout(60):
            while (await called(app, "GET", "/admin/tree")).json()["requests"] != 1:
                await asyncio.sleep(0.005)

    in_console(bundle, check)


def test_metrics_are_those_of_the_service(bundle):
    async def check(app):
        found = MetricsReply.model_validate((await called(app, "GET", "/admin/metrics")).json(), strict=True)
        assert "retrieval_queue_limit" in {sample.name for sample in found.samples}

    in_console(bundle, check)


def test_other_bundle_answers_when_it_lies_beside_the_pointer(bundle):
    async def check(app):
        async def asked(name, bundle_id=None):
            asking = asyncio.create_task(called(app, "POST", "/admin/bundles/retrieve", {**QUERY, "bundle": name}))
            app.answer(await app.next_call(), {"bundles": [
                {"bundle": "other", "bundle_id": bundle_id, "problem": None},
                {"bundle": "broken", "bundle_id": None, "problem": "broken/manifest.json is missing"}]})
            return await asking

        bundle_id = BundleFiles(bundle.parent / "other", verify=False).manifest.bundle_id
        reply = RetrieveReply.model_validate((await asked("other", bundle_id)).json())
        assert (reply.bundle_id, reply.user_cache, reply.eligible) == (bundle_id, "bypass", 300)
        assert (await app.http.post("/retrieve", json=QUERY)).json()["bundle_id"] != bundle_id
        for name, status, error_type in (("none", 404, "unknown_bundle"), ("broken", 409, "bundle_refused")):
            refusal = await asked(name)
            assert (refusal.status_code, refusal.json()["error_type"]) == (status, error_type)
        changed = await asked("other", "0123456789abcdef")
        assert (changed.status_code, changed.json()["error_type"]) == (409, "bundle_refused")

    in_console(bundle, check)


def test_every_call_but_metrics_is_refused_when_the_service_drains(bundle):
    async def check(app):
        app.api.draining = True
        for call in CALLS:
            if call[1] != "/admin/metrics":
                await refused(app, "draining", *call)

    in_console(bundle, check)
