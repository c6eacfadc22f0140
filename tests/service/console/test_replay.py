"""Replay: recent requests are answered as they were, those that do not fit are left out."""

import asyncio

import orjson

from service.console import replay
from service.console.replay import replayed
from service.retrieval.search_queue import NoQueue
from tests.service.console.worlds import USER, answer

BODY = orjson.dumps(USER)


def run(retriever, bodies, ad_id=None):
    return asyncio.run(replayed(retriever, retriever.sealed, bodies, NoQueue, ad_id))


def test_answer_is_traced_and_the_same_when_a_request_is_searched_again(untargeted):
    (one,) = run(untargeted, [BODY])
    before, _ = answer(untargeted)
    assert one.answer.ad_ids == before.ad_ids
    assert len(one.answer.found.steps) == 3
    assert one.eligible is None


def test_eligible_ads_are_those_of_the_request_when_ads_have_targeting(retriever):
    assert run(retriever, [BODY])[0].eligible.total == answer(retriever)[1].total


def test_exact_request_goes_through_the_tree_and_its_deadline_is_forgotten(untargeted):
    (one,) = run(untargeted, [orjson.dumps({"user_id": "user-04", "exact": True, "timeout_ms": 0.001})])
    assert len(one.answer.found.levels) > 1
    assert not one.answer.found.narrowed


def test_request_is_left_out_when_the_bundle_refuses_it(retriever):
    bad = [b"{", b'{"user_id": "a", "no_such_field": 1}', b'{"user_id": "a", "user_features": {"no_such": 1}}',
           b'{"user_id": "a", "targeting": {"field": "no_such", "in": []}}']
    assert len(run(retriever, [*bad, BODY])) == 1


def test_ad_is_explained_when_one_is_named(retriever):
    ad_id = answer(retriever)[0].ad_ids[0]
    assert run(retriever, [BODY], ad_id)[0].answer.explanation.of_search.outcome == "returned"


def test_no_further_request_is_begun_when_time_is_up(retriever, monkeypatch):
    monkeypatch.setattr(replay, "SECONDS", 0.0)
    assert run(retriever, [BODY] * 3) == []
