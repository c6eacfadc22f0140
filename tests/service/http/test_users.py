"""PUT and DELETE /users in one worker: what the next request uses, what is forgotten, refusals that write nothing."""

import asyncio

import pytest

from service.contract.user_schemas import UserReply
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN, call, last, retrieve


@pytest.fixture
def with_log(tiny_bundle, tmp_path):
    """Runs `check(app)` on an application that has a change log and a write token."""
    return lambda check: in_app(tiny_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"))


def test_next_request_uses_the_features_and_its_own_win(with_log):
    async def check(app):
        features = {"age": 33, "country": "country-3", "interests": None}
        reply = await call(app, "PUT", "/users/new?wait=applied", {"features": features, "if_version": 0})
        assert UserReply.model_validate(reply[1]) == UserReply(user_id="new", version=1, applied=True)
        answer = await retrieve(app, "new")
        assert (answer["user"], answer["as_of"]) == ("known", 1)
        assert answer["ads"] == (await retrieve(app, "other", user_features=features))["ads"]
        young = await retrieve(app, "new", user_features={"age": 3})
        assert young["ads"] == (await retrieve(app, "other", user_features=features | {"age": 3}))["ads"]

    with_log(check)


def test_put_is_refused_when_the_features_do_not_fit_and_writes_nothing(with_log):
    async def check(app):
        for error_type, user_id, body in [
                ("invalid_feature", "u", {"features": {"age": "old"}}),
                ("unknown_feature", "u", {"features": {"height": 1}}), ("missing_field", "u", {}),
                ("unknown_feature", "u", {"features": {"history": []}}), ("invalid_value", "x" * 129, {"features": {}}),
                ("version_conflict", "u", {"features": {}, "if_version": 4})]:
            status, reply = await call(app, "PUT", f"/users/{user_id}", body)
            assert (reply["error_type"], 400 <= status < 500) == (error_type, True)
        assert await last(app) == 0

    with_log(check)


def test_embedding_of_a_forgotten_user_is_removed_from_redis(tiny_bundle, tmp_path, own_redis):
    async def check(app):
        async def until_redis_has(number):
            async with asyncio.timeout(30):
                while own_redis.client.dbsize() != number:
                    await asyncio.sleep(0.01)

        await retrieve(app, "user-01")
        await until_redis_has(1)
        await call(app, "DELETE", "/users/user-01")
        await until_redis_has(0)

    in_app(tiny_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"), redis_url=own_redis.url,
           redis_timeout_ms=30_000)


def test_forgotten_user_is_unknown_and_nothing_of_the_user_is_left(with_log, tmp_path):
    async def check(app):
        before, nobody = await retrieve(app, "user-01"), await retrieve(app, "nobody")
        assert (before["user"], (await retrieve(app, "user-01"))["user_cache"]) == ("known", "local")
        await call(app, "PUT", "/users/user-01", {"features": {"country": "country-7"}}, idempotency_key="of-them")
        await call(app, "POST", "/events?wait=applied", b'{"user_id":"user-01","ad_id":"ad-0007","type":"click"}')
        await retrieve(app, "user-01")
        cache = app.api.bundles.current.cache
        assert len(cache._local) == 3
        reply = (await call(app, "DELETE", "/users/user-01?wait=applied"))[1]
        assert reply == {"user_id": "user-01", "version": 3, "applied": True}
        answer = await retrieve(app, "user-01")
        assert (answer["user"], answer["ads"], answer["as_of"]) == ("unknown", nobody["ads"], 3)
        assert len(cache._local) == 2  # of before, which the features of the bundle gave, and of nobody
        changes = (await call(app, "GET", "/changes"))[1]["changes"]
        assert [(one["kind"], one["id"], one["fields"]) for one in changes] == [
            ("erased", "", {}), ("erased", "", {}), ("forgotten", "user-01", {})]
        kept = b"".join(file.read_bytes() for file in tmp_path.glob("log*"))
        assert not any(word in kept for word in (b"country-7", b"ad-0007", b"of-them"))
        await call(app, "POST", "/events?wait=applied", b'{"user_id":"user-01","ad_id":"ad-0007","type":"click"}')
        again = await retrieve(app, "user-01")
        assert again["ads"] == (await retrieve(app, "nobody", user_features={"history": ["ad-0007"]}))["ads"]

    with_log(check)
