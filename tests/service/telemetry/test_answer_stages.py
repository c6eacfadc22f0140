"""The stages of an answer: one after the other, as long as the answer says, with the counts of the search."""

import asyncio
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from service.console.walk import Walk
from service.contract.replies import latency
from service.telemetry.answer_stages import tell_answer, tell_query
from service.telemetry.request_trace import RequestTrace
from tests.service.console.worlds import answer, opened, query_of


@pytest.fixture(scope="module")
def retriever(tiny_bundle):
    found = opened(tiny_bundle)
    yield found
    found.close()


def told(answered, answer_by=None):
    trace = RequestTrace("ab" * 16, "00-x", time.perf_counter(), lambda trace, ended: None)
    tell_answer(trace, answered, answer_by)
    return trace, {stage.name: stage for stage in trace.stages}


def test_stages_follow_each_other_and_last_as_long_as_the_answer_says(retriever):
    answered = asyncio.run(retriever.retrieve(query_of(retriever)))
    trace, stages = told(replace(answered, user_cache="miss"))
    assert list(stages) == ["features", "cache", "queue", "user_tower", "search"]
    assert all(before.ended == after.began for before, after in pairwise(trace.stages))
    shown = latency(answered, 1.0)
    for name, stage in stages.items():
        assert (stage.ended - stage.began) * 1000 == pytest.approx(shown[name], abs=0.002)
    assert trace.replying == trace.stages[-1].ended
    parts = stages["search"].parts
    assert [part.name for part in parts] == ["eligibility", "level 1", "level 2", "level 3"]
    inside = [stages["search"].began, *(edge for part in parts for edge in (part.began, part.ended)),
              stages["search"].ended]
    assert inside == sorted(inside)


@pytest.mark.parametrize("body", [{}, {"beam_width": [4, 24]}, {"beam_width": [1, 1], "top_k": 40},
                                  {"targeting": {"field": "category", "in": ["cat-3", "cat-5"]}},
                                  {"exact": True, "beam_width": None}])
def test_levels_tell_what_the_walk_of_the_search_tells(retriever, body):
    answered, eligible = answer(retriever, **body)
    walk = Walk(answered.found, answered.snapshot, eligible).levels()
    _, stages = told(answered)
    levels = [part.attributes for part in stages["search"].parts[1:]]
    assert len(levels) == len(walk)
    for level, step in zip(levels, walk, strict=True):
        assert (level["retrieval.level"], level["retrieval.candidates"], level["retrieval.pairs_scored"]) == (
            step["level"], step["candidates"], step["scored"])
        assert (level["retrieval.kept"], level["retrieval.pruned"]) == (step["kept"], step["candidates"] - step["kept"])
    assert sum(level["retrieval.pairs_scored"] for level in levels) == answered.found.pairs_scored


def test_levels_tell_the_width_that_was_asked_for(retriever):
    _, stages = told(answer(retriever, beam_width=[2, 3], top_k=7)[0])
    assert [part.attributes["retrieval.width"] for part in stages["search"].parts[1:]] == [2, 3, 7]


@pytest.mark.parametrize(("cache", "names"), [
    ("local", ["features", "cache", "queue", "search"]), ("bypass", ["features", "queue", "user_tower", "search"])])
def test_stage_is_left_out_when_it_did_not_take_place(retriever, cache, names):
    assert list(told(replace(answer(retriever)[0], user_cache=cache))[1]) == names


def test_attributes_are_those_of_query_and_answer_and_name_no_user(retriever):
    query = query_of(retriever, user_features={"age": 31.0, "country": "de"})
    answered = asyncio.run(retriever.retrieve(query))
    trace, _ = told(replace(answered, degraded=("redis",)), time.perf_counter() + 1.0)
    left = trace.attributes.pop("retrieval.deadline_left_ms")
    assert 0 < left < 1000
    assert trace.attributes == {
        "retrieval.ads": 10, "retrieval.user": "inline", "retrieval.degraded": ("redis",), "retrieval.eligible": 300,
        "retrieval.pairs_scored": answered.found.pairs_scored, "retrieval.coverage": 1.0}
    tell_query(trace, query, "bundle-1")
    assert trace.stages[-1].name == "parse"
    assert (trace.attributes["retrieval.bundle_id"], trace.attributes["retrieval.top_k"]) == ("bundle-1", 10)
