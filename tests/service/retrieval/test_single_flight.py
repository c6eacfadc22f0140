"""One user's embedding is computed once, however many requests want it at the same time."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from service.cache.user_cache import UserCache
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from service.retrieval.single_flight import SingleFlight


def test_value_is_computed_once_when_threads_want_it_together():
    flights, computed = SingleFlight(), []

    def compute():
        computed.append(threading.get_ident())
        return "value"

    with flights.join(b"key") as flight, ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: flight.value(compute), range(8)))
    assert [value for value, _ in values] == ["value"] * 8
    assert sorted(own for _, own in values) == [False] * 7 + [True]
    assert len(computed) == 1


def test_next_one_computes_when_the_first_fails():
    flights, attempts = SingleFlight(), iter([ValueError("broken"), "value"])

    def compute():
        found = next(attempts)
        if isinstance(found, Exception):
            raise found
        return found

    with flights.join(b"key") as flight:
        with pytest.raises(ValueError, match="broken"):
            flight.value(compute)
        assert flight.value(compute) == ("value", True)


def test_flight_ends_when_its_last_request_leaves():
    flights = SingleFlight()
    with flights.join(b"key") as first:
        with flights.join(b"key") as second, flights.join(b"other") as other:
            assert second is first
            assert other is not first
        first.value(lambda: 1)
    with flights.join(b"key") as again:
        assert again.value(lambda: 2) == (2, True)


def test_tower_runs_once_when_one_user_asks_many_times_at_once(tiny_bundle, monkeypatch):
    retriever = Retriever(Bundle.open(tiny_bundle), cache=UserCache(100, None), search_threads=4)
    runs = []
    embed = retriever.embed
    monkeypatch.setattr(retriever, "embed", lambda tower_input: (runs.append(1), embed(tower_input))[1])

    async def ask():
        queries = [Query(user_id=user, top_k=5, task_weights=np.array([1, 0], np.float32))
                   for user in [b"user-01"] * 20 + [b"user-02"] * 20]
        return await asyncio.gather(*map(retriever.retrieve, queries))

    try:
        answers = asyncio.run(ask())
    finally:
        retriever.close()
    assert len(runs) == 2
    assert {tuple(answer.ad_ids) for answer in answers[:20]} == {tuple(answers[0].ad_ids)}
    assert answers[0].ad_ids != answers[20].ad_ids
