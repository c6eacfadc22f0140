"""The user cache over real HTTP and a real Redis: which level answers, what survives, what is refused."""

import asyncio
import struct
import time

import numpy as np
import pytest
import redis

from index_store.bundle.bundle import Bundle
from index_store.speculation.user_pairs import UserPairs
from service.cache.redis_level import Stored
from service.cache.user_cache import UserCache
from service.retrieval import speculated_pairs
from service.retrieval.speculated_pairs import PairKeys, PairsAsked, SpeculatedPairs
from tests.resealed import reseal
from tests.service.service_process import ServiceProcess
from tests.speculated_bundles import planted_speculation


@pytest.fixture
def shared(redis_url):
    """A client of the Redis that the services of these tests use."""
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


def serve(bundle, redis_url, **environment):
    """A service with Redis, as patient as a busy test machine needs."""
    return ServiceProcess(bundle, REDIS_URL=redis_url, RETRIEVAL_REDIS_TIMEOUT_MS="30000", **environment)


def keys_of(shared, bundle):
    return set(shared.scan_iter(f"user-embedding:1:{Bundle.open(bundle).user_tower_version[:16]}:*", count=1000))


def cache_use(process, **body):
    return process.retrieve(**body)["user_cache"]


def test_each_level_answers_in_turn_when_one_user_returns(fresh_bundle, redis_url, shared):
    with serve(fresh_bundle, redis_url, RETRIEVAL_REDIS_TTL_SECONDS="500") as process:
        first, second = process.retrieve(user_id="user-01"), process.retrieve(user_id="user-01")
        (key,) = process.wait_until(lambda: keys_of(shared, fresh_bundle))
    with serve(fresh_bundle, redis_url) as process:
        third, fourth = process.retrieve(user_id="user-01"), process.retrieve(user_id="user-01")
    assert [reply["user_cache"] for reply in (first, second, third, fourth)] == ["miss", "local", "redis", "local"]
    assert first["ads"] == second["ads"] == third["ads"] == fourth["ads"]
    assert 0 < shared.ttl(key) <= 500
    assert b"user-01" not in key


def test_pending_writes_arrive_when_the_service_stops(fresh_bundle, redis_url, shared):
    with serve(fresh_bundle, redis_url) as process:
        for i in range(20):
            process.retrieve(user_id="u", user_features={"age": i})
    assert len(keys_of(shared, fresh_bundle)) == 20


def test_hits_survive_when_a_new_bundle_has_the_same_user_tower(fresh_bundle, redis_url, shared, tmp_path):
    def note(writer):
        writer.json("evaluation.json", {"note": "trained again"})

    def other_tower(writer):
        writer.array("tables/user.country.npy", Bundle.open(fresh_bundle).content.tables["user.country"] * 2)
        writer.json("golden.json", [])

    same = reseal(fresh_bundle, tmp_path / "same", note)
    reseal(fresh_bundle, tmp_path / "other", other_tower)
    with serve(fresh_bundle, redis_url) as process:
        assert cache_use(process, user_id="user-02") == "miss"
        assert process.retrieve(user_id="user-02")["bundle_id"] != same.bundle_id
    with serve(tmp_path / "same", redis_url) as process:
        assert cache_use(process, user_id="user-02") == "redis"
    with serve(tmp_path / "other", redis_url) as process:
        assert cache_use(process, user_id="user-02") == "miss"


def test_garbage_is_a_miss_and_replaced_when_redis_holds_it(fresh_bundle, redis_url, shared):
    records = {}
    garbage = [lambda r: b"", lambda r: b"x" * len(r), lambda r: r[:-1], lambda r: r + b"\0",
               lambda r: r[:20] + bytes([r[20] ^ 1]) + r[21:],                # one bit of the payload
               lambda r: r[:4] + struct.pack("<H", 2) + r[6:],                # a later layout
               lambda r: next(other for other in records.values() if other != r),  # another user's record
               lambda r: None]                                                # a list, not a string
    with serve(fresh_bundle, redis_url, RETRIEVAL_USER_CACHE_ENTRIES="1") as process:
        for i in range(9):
            assert cache_use(process, user_id=f"user-{i:02d}") == "miss"
            process.wait_until(lambda: len(keys_of(shared, fresh_bundle)) > len(records))
            (key,) = keys_of(shared, fresh_bundle) - set(records)
            records[key] = shared.get(key)
        for key, damage in zip(records, garbage, strict=False):  # the last key stays well
            bad = damage(records[key])
            shared.delete(key)
            if bad is None:
                shared.rpush(key, "a", "b")
            else:
                shared.set(key, bad)
        replies = [process.retrieve(user_id=f"user-{i:02d}") for i in range(9)]
        assert [reply["user_cache"] for reply in replies] == ["miss"] * 8 + ["redis"]
        assert all(reply["degraded"] == [] for reply in replies)
        assert process.metrics()["retrieval_user_cache_bad_values_total"] == 8
    assert {key: shared.get(key) for key in records} == records


def test_embedding_is_shared_when_two_users_have_the_same_features(service):
    features = {"age": 17.25, "interests": ["interest-2"], "history": ["ad-0003"]}
    assert cache_use(service, user_id="twin-1", user_features=features) == "miss"
    assert cache_use(service, user_id="twin-2", user_features=features) == "local"
    assert cache_use(service, user_id="twin-2", user_features={**features, "history": []}) == "miss"


def test_least_recent_user_leaves_when_the_cache_is_full(tiny_bundle):
    with ServiceProcess(tiny_bundle, RETRIEVAL_USER_CACHE_ENTRIES="2") as process:
        uses = [cache_use(process, user_id=f"user-0{i}") for i in (1, 2, 1, 3, 1, 2)]
    assert uses == ["miss", "miss", "local", "miss", "local", "miss"]


def test_cache_is_bypassed_when_it_is_switched_off(fresh_bundle, redis_url, shared):
    with serve(fresh_bundle, redis_url, RETRIEVAL_USER_CACHE="false") as process:
        assert [cache_use(process, user_id="user-01") for _ in range(2)] == ["bypass", "bypass"]
        assert process.metrics()['retrieval_user_cache_total{result="bypass"}'] == 2
    assert not keys_of(shared, fresh_bundle)


class SlowRedis:
    """A Redis level without embeddings, whose answer comes after what is held of pairs has ended."""

    async def get(self, digest, answer_by=None, beside=None):
        assert beside is None, "pairs are held"
        await asyncio.sleep(0.3)
        return Stored(None, None)


def test_pairs_that_were_held_at_the_start_are_used_however_long_the_embedding_takes(monkeypatch):
    keys = PairKeys.of("bundle")
    pairs = SpeculatedPairs(keys, planted_speculation(), 10)
    record = UserPairs(np.array([3], np.uint32), np.ones((1, 5), np.int8), time.time(), 60)
    monkeypatch.setattr(speculated_pairs, "HELD_SECONDS", 0.2)
    pairs.keep(b"u", record.packed(keys.of_user(b"u")))
    found = asyncio.run(UserCache(10, SlowRedis()).get(b"digest", None, PairsAsked(pairs, b"u")))
    assert found.corrections.positions.tolist() == [3]
    assert pairs.held(b"u") is None
