"""Answers of two sides in one worker: of one bundle each, always the same for a user, never an error of a canary."""

import asyncio
import json

import pytest
from prometheus_client import REGISTRY

from service.bundles.control_channel import Release, TrialFailed, Try, Trying
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN, call
from tests.tiny_bundle import write_tiny_bundle

USERS = [f"user-{number:02d}" for number in range(40)]


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sides")
    kinds = {"now": {"context": True}, "new": {"context": True, "seed": 1, "n_items": 280}, "plain": {"seed": 2}}
    return {name: Release(name, folder / name, write_tiny_bundle(folder / name, **kind).bundle_id)
            for name, kind in kinds.items()}


def told(app):
    return [message for message in app.supervisor.receive() if isinstance(message, Trying | TrialFailed)]


async def begin(app, wanted):
    app.api.bundles.try_out(wanted)
    async with asyncio.timeout(30):
        while not (found := told(app)):
            await asyncio.sleep(0.01)
    assert found == [Trying(wanted)]


async def retrieve(app, **body):
    reply = await app.http.post("/retrieve", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def sides(app):
    return {user: (await retrieve(app, user_id=user))["bundle_id"] for user in USERS}


def counted(name, **labels):
    return REGISTRY.get_sample_value(f"retrieval_{name}", labels) or 0.0


def test_user_gets_one_side_from_every_call(releases):
    now, new = releases["now"], releases["new"]

    async def check(app):
        assert set((await sides(app)).values()) == {now.bundle_id}
        await begin(app, Try(new, 0.5))
        first = await sides(app)
        assert set(first.values()) == {now.bundle_id, new.bundle_id}
        assert await sides(app) == first
        lines = b"\n".join(json.dumps({"user_id": user}).encode() for user in USERS)
        batch = await app.http.post("/retrieve:batch", content=lines, headers={"content-type": "application/x-ndjson"})
        answers = batch.json()["answers"]
        assert {user: one["answer"]["bundle_id"] for user, one in zip(USERS, answers, strict=True)} == first
        for user in USERS[:8]:
            explained = await app.http.post("/explain", json={"user_id": user, "ad_id": "ad-0001"})
            walked = await app.http.post("/admin/walk", json={"user_id": user}, headers={"authorization": "Bearer a"})
            assert explained.json()["bundle_id"] == walked.json()["bundle_id"] == first[user]
        for side, release in (("current", now), ("canary", new)):
            labels = {"side": side, "bundle_id": release.bundle_id}
            asked = sum(bundle_id == release.bundle_id for bundle_id in first.values())
            assert counted("side_requests_total", **labels, status="200", error_type="") >= 3 * asked
            assert counted("side_seconds_count", **labels) >= 3 * asked
        await begin(app, Try())
        assert set((await sides(app)).values()) == {now.bundle_id}

    in_app(now.folder, check, admin_token="a")


def test_request_without_a_user_gets_the_same_side_for_the_same_features(releases):
    async def check(app):
        await begin(app, Try(releases["new"], 0.5))
        found = [[(await retrieve(app, user_features={"age": age}))["bundle_id"] for age in range(20)]
                 for _ in range(2)]
        assert found[0] == found[1]
        assert len(set(found[0])) == 2

    in_app(releases["now"].folder, check)


def test_current_bundle_answers_what_the_canary_refuses(releases):
    async def check(app):
        before = counted("canary_fallbacks_total", reason="refused")
        await begin(app, Try(releases["plain"], 1.0))
        assert (await retrieve(app, user_id="u"))["bundle_id"] == releases["plain"].bundle_id
        answer = await retrieve(app, user_id="u", context={"hour": "day"})
        assert answer["bundle_id"] == releases["now"].bundle_id
        assert counted("canary_fallbacks_total", reason="refused") == before + 1
        bad = await app.http.post("/retrieve", json={"user_id": "u", "context": {"weather": "rain"}})
        assert (bad.status_code, bad.json()["error_type"]) == (422, "invalid_context")
        assert (await retrieve(app, user_id="u"))["bundle_id"] == releases["plain"].bundle_id
        assert told(app) == []

    in_app(releases["now"].folder, check)


def test_canary_is_dropped_and_nobody_gets_an_error_when_it_fails(releases):
    new = releases["new"]

    async def check(app):
        await begin(app, Try(new, 1.0))
        app.api.bundles.sides.canary.host.retriever.close()  # so that its next search fails
        answers = await asyncio.gather(*(retrieve(app, user_id=user) for user in USERS))
        assert {answer["bundle_id"] for answer in answers} == {releases["now"].bundle_id}
        assert app.api.bundles.sides.canary is None
        assert told(app) == [TrialFailed("canary", new, "a request failed with RuntimeError")]
        assert counted("canary_share") == 0

    in_app(releases["now"].folder, check)


def test_user_caches_are_apart_when_the_user_towers_differ(releases):
    async def check(app):
        await begin(app, Try(releases["new"], 1.0))
        host = app.api.bundles.sides.canary.host
        assert host.cache is not app.api.bundles.current.cache
        for expected in ("miss", "local"):
            assert (await retrieve(app, user_id="user-01"))["user_cache"] == expected
        await begin(app, Try())
        assert (await retrieve(app, user_id="user-01"))["user_cache"] == "miss"

    in_app(releases["now"].folder, check)


def test_changes_and_clicks_hold_on_both_sides(releases, tmp_path):
    async def check(app):
        await begin(app, Try(releases["new"], 0.5, releases["plain"]))
        first = await sides(app)
        users = {bundle_id: user for user, bundle_id in first.items()}
        best = {user: (await retrieve(app, user_id=user))["ads"][0]["ad_id"] for user in users.values()}
        for ad_id in set(best.values()):
            await call(app, "PATCH", f"/ads/{ad_id}?wait=applied", {"status": "paused"})
        lines = b"\n".join(b'{"user_id":"%s","ad_id":"ad-0007","type":"click"}' % user.encode()
                           for user in users.values())
        written = await call(app, "POST", "/events?wait=applied", lines)
        for bundle_id, user in users.items():
            answer = await retrieve(app, user_id=user)
            assert (answer["bundle_id"], answer["as_of"]) == (bundle_id, written[1]["sequences"][-1])
            assert best[user] not in [ad["ad_id"] for ad in answer["ads"]]
            left_out = await retrieve(app, user_id=user, exclude_history=True, top_k=280)
            assert "ad-0007" not in [ad["ad_id"] for ad in left_out["ads"]]
        assert app.api.bundles.shadow.snapshot.as_of == written[1]["sequences"][-1]

    in_app(releases["now"].folder, check, write_token=TOKEN, change_log=str(tmp_path / "log"))


def test_answers_of_the_current_side_alone_are_compared_with_the_shadow(releases):
    async def check(app):
        pair = {"bundle_id": releases["plain"].bundle_id, "beside": releases["now"].bundle_id}
        await begin(app, Try(releases["new"], 1.0, releases["plain"]))
        await retrieve(app, user_id="user-01")
        assert app.api.samplers.shadow._waiting.empty()
        await begin(app, Try(None, 0.0, releases["plain"]))
        before = counted("shadow_overlap_count", **pair)
        await retrieve(app, user_id="user-01")
        async with asyncio.timeout(30):
            while counted("shadow_overlap_count", **pair) == before:
                await asyncio.sleep(0.01)

    in_app(releases["now"].folder, check, shadow_share=1.0)
