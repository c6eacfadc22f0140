"""Answers: where the time of a request went."""

import asyncio
import time

from index_store.bundle.bundle import Bundle
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.retrieval.retriever import Retriever


def test_times_cover_the_request_when_it_is_answered(tiny_bundle):
    retriever = Retriever(Bundle.open(tiny_bundle))
    query = to_query(parse_request({"user_id": "user-01"}), retriever.bundle.manifest, UNLIMITED)
    start = time.perf_counter()
    answer = asyncio.run(retriever.retrieve(query))
    end = time.perf_counter()
    retriever.close()
    times = answer.times
    stages = (times.features, times.cache, times.queue, times.user_tower, times.search)
    assert all(seconds >= 0 for seconds in stages)
    assert 0 < times.scorer < times.search
    assert sum(stages) <= answer.ended - start
    assert start < answer.ended < end
