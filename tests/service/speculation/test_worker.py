"""The worker beside a service and a Redis: who asks gets pairs, and without Redis answers are the plain ones."""

import asyncio

import pytest
from redis.asyncio import Redis

from service.retrieval.speculated_pairs import PairKeys
from service.speculation.worker import Worker
from tests.service.service_process import ServiceProcess

PATIENT = {"RETRIEVAL_REDIS_TIMEOUT_MS": "20000", "RETRIEVAL_REDIS_PAUSE_SECONDS": "0.05"}


def scores(reply):
    return {ad["ad_id"]: ad["score"] for ad in reply["ads"]}


def steps(url, maker, count=1):
    """What so many steps of a worker return."""
    async def run():
        redis = Redis.from_url(url)
        worker = Worker(redis, maker, 3600)
        found = [await worker.step() for _ in range(count)]
        await redis.aclose()
        return found

    return asyncio.run(run())


def test_a_user_who_asks_gets_pairs_and_loses_them_with_redis(speculated, tiny_bundle, maker, own_redis):
    keys = PairKeys.of(maker.bundle_id)
    with ServiceProcess(tiny_bundle) as plain:
        expected = {user: scores(plain.retrieve(user_id=user, top_k=20)) for user in ("user-03", "user-04")}
    with ServiceProcess(speculated, REDIS_URL=own_redis.url, **PATIENT) as process:
        assert scores(process.retrieve(user_id="user-03", top_k=20)) == expected["user-03"], "on the rung of nothing"
        process.wait_until(lambda: own_redis.client.zcard(keys.wanted))
        assert steps(own_redis.url, maker) == [True]
        assert own_redis.client.zcard(keys.wanted) == 0
        assert 3500 < own_redis.client.ttl(keys.of_user(b"user-03")) <= 3600
        process.wait_until(lambda: scores(process.retrieve(user_id="user-03", top_k=20)) != expected["user-03"])
        figures = process.metrics()
        assert sum(figures[f'retrieval_speculated_ads_total{{rung="{rung}"}}'] for rung in ("pair", "user")) >= 20
        assert figures['retrieval_speculated_ads_total{rung="nothing"}'] >= 20
        assert figures["retrieval_speculated_age_seconds_count"] >= 1
        own_redis.kill()
        reply = process.retrieve(user_id="user-04", top_k=20)
        assert reply["degraded"] == ["redis"]
        assert scores(reply) == expected["user-04"]
        process.wait_until(lambda: scores(process.retrieve(user_id="user-03", top_k=20)) == expected["user-03"])


def test_users_who_asked_last_come_first_and_unknown_ones_get_nothing(maker, own_redis):
    keys = PairKeys.of(maker.bundle_id)
    own_redis.client.zadd(keys.wanted, {b"user-01": 1.0, b"nobody": 2.0, b"user-02": 3.0})
    assert steps(own_redis.url, maker) == [True]
    assert own_redis.client.exists(keys.of_user(b"user-02"))
    assert steps(own_redis.url, maker) == [True]
    assert own_redis.client.zrange(keys.wanted, 0, -1) == [b"user-01"]
    assert not own_redis.client.exists(keys.of_user(b"nobody"))
    assert steps(own_redis.url, maker, 2) == [True, False]


@pytest.mark.parametrize("state", ["dead", "other type"])
def test_a_step_survives_a_redis_that_fails(maker, own_redis, state):
    if state == "dead":
        own_redis.kill()
    else:
        own_redis.client.set(PairKeys.of(maker.bundle_id).wanted, b"a text")
    assert steps(own_redis.url, maker) == [False]
