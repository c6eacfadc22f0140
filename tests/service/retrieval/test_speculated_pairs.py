"""Stored pairs in this process: what they add, how long they are held, and who is asked for."""

import asyncio
import time

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.changes.change_log import Change, Kind
from index_store.speculation.user_pairs import UserPairs
from service.contract.answer import CacheLookup
from service.contract.query import Query
from service.retrieval import speculated_pairs
from service.retrieval.retriever import Retriever
from service.retrieval.speculated_pairs import PairKeys, SpeculatedPairs, rungs
from tests.speculated_bundles import write_speculated

CLICK = np.array([1, 0], np.float32)


class Memory:
    """An EmbeddingCache that has no embedding, and of some users the pairs."""

    def __init__(self, records):
        self.records, self.asked = records, []

    async def get(self, key, answer_by=None, asked=None):
        if asked is None:
            return CacheLookup(None, "miss")
        self.asked.append(asked.user_id)
        asked.keep(self.records.get(asked.key))
        return CacheLookup(None, "miss", (), asked.held.corrections)

    def put(self, key, embedding):
        pass


@pytest.fixture(scope="module")
def opened(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speculated") / "bundle"
    write_speculated(tiny_bundle, folder)
    return Bundle.open(folder)


def record_of(opened, user_id, positions, residuals, made_at=None):
    codes = np.zeros((len(positions), 5), np.int8)
    codes[:, 0] = residuals
    key = PairKeys.of(opened.bundle_id).of_user(user_id)
    pairs = UserPairs(np.array(positions, np.uint32), codes, time.time() if made_at is None else made_at, 100)
    return key, pairs.packed(key)


def query(user_id=b"user-05", exact=True, **fields):
    return Query(user_id=user_id, top_k=300, exact=exact, task_weights=CLICK, **fields)


def scores(answer, opened):
    found = np.empty(300, np.float32)
    found[opened.content.tree.position_of_row[answer.found.rows]] = answer.found.scores
    return found


def test_pairs_add_to_their_ads_and_the_aggregate_to_all_others(opened):
    cache = Memory(dict([record_of(opened, b"user-05", [4, 250], [20, 40])]))
    retriever = Retriever(opened, cache=cache)
    plain = asyncio.run(retriever.retrieve(query(), use_cache=False))
    answer = asyncio.run(retriever.retrieve(query()))
    added = scores(answer, opened) - scores(plain, opened)
    expected = np.full(300, 1.5)  # half of the mean of 2 and 4
    expected[[4, 250]] = 2, 4
    np.testing.assert_allclose(added, expected, atol=1e-4)
    assert answer.rungs == {"pair": 2, "user": 298, "nothing": 0}
    assert plain.corrections is None
    assert plain.rungs == {"pair": 0, "user": 0, "nothing": 300}
    retriever.close()


def test_answers_are_those_without_pairs_bit_for_bit_when_there_are_none(opened, tiny_bundle):
    with_pairs, without = Retriever(opened, cache=Memory({})), Retriever(Bundle.open(tiny_bundle), cache=Memory({}))
    for exact in (True, False):
        one, other = (asyncio.run(retriever.retrieve(query(exact=exact))) for retriever in (with_pairs, without))
        np.testing.assert_array_equal(one.found.rows, other.found.rows)
        np.testing.assert_array_equal(one.found.scores, other.found.scores)
        assert other.rungs is None
    with_pairs.close()
    without.close()


def test_only_known_users_as_they_are_have_pairs(opened):
    cache = Memory({})
    retriever = Retriever(opened, cache=cache)
    for asked in (query(b""), query(b"nobody"), query(user_features={"age": 30})):
        asyncio.run(retriever.retrieve(asked))
    assert cache.asked == []
    change = Change(sequence=1, at=0.0, kind=Kind.FORGOTTEN, id="user-05", fields={})
    forgotten = retriever.sealed.with_changes([change])
    asyncio.run(retriever.retrieve(query(), snapshot=forgotten))
    assert cache.asked == []
    asyncio.run(retriever.retrieve(query()))
    assert cache.asked == [b"user-05"]
    retriever.close()


def test_what_redis_has_is_held_and_newer_pairs_are_wanted_in_the_second_half_of_their_life(opened):
    pairs, now = SpeculatedPairs.of(opened), time.time()
    for age, wanted in ((10, False), (60, True)):
        _, record = record_of(opened, b"u", [1], [1], now - age)
        assert pairs.keep(b"u", record) is wanted
        assert pairs.held(b"u").corrections.made_at == pytest.approx(now - age)
    assert pairs.keep(b"v", None)
    assert pairs.held(b"v").corrections is None
    assert pairs.held(b"w") is None


def test_users_are_held_for_seconds_and_the_oldest_is_dropped_when_there_are_too_many(opened, monkeypatch):
    pairs = SpeculatedPairs.of(opened)
    monkeypatch.setattr(speculated_pairs, "HELD_USERS", 2)
    for user in (b"a", b"b", b"c"):
        pairs.keep(user, None)
    assert [pairs.held(user) is not None for user in (b"a", b"b", b"c")] == [False, True, True]
    monkeypatch.setattr(speculated_pairs, "HELD_SECONDS", 0.0)
    pairs.keep(b"c", None)
    assert pairs.held(b"c") is None


def test_a_broken_record_counts_as_none(opened):
    pairs = SpeculatedPairs.of(opened)
    _, record = record_of(opened, b"u", [1], [1])
    assert pairs.keep(b"u", record[:-1] + b"x")
    assert pairs.held(b"u").corrections is None


def test_keys_name_the_bundle_and_not_the_user():
    one, other = PairKeys.of("b1"), PairKeys.of("b2")
    assert one.of_user(b"somebody") != other.of_user(b"somebody")
    assert one.wanted == b"speculated:1:b1:wanted"
    assert b"somebody" not in one.of_user(b"somebody")


def test_nothing_is_known_of_any_ad_without_pairs():
    assert rungs(None, np.arange(7)) == {"pair": 0, "user": 0, "nothing": 7}
