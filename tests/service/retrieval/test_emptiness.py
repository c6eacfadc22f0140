"""Why an answer has no ad: each cause planted in the tiny bundle."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.targeting.predicates import to_json
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from tests.index_store.live.changed import changes

ASKED = Query(user_id=b"user-05", top_k=20, beam_width=(3, 6), task_weights=np.array([1, 0], np.float32))
NO_BRAND = {"field": "brand", "in": ["none of them"]}


@pytest.fixture(scope="module")
def retriever(tiny_bundle):
    retriever = Retriever(Bundle.open(tiny_bundle))
    yield retriever
    retriever.close()


def answer(retriever, snapshot=None, **asked):
    return asyncio.run(retriever.retrieve(replace(ASKED, **asked), snapshot=snapshot))


def test_part_that_leaves_the_fewest_ads_is_named_when_targeting_leaves_none(retriever):
    names = retriever.bundle.content.encoder.vocabularies["item.category"][:2]
    parts = [{"field": "category", "in": [name.decode()]} for name in names]
    left = [answer(retriever, targeting=part).found.eligible for part in parts]
    assert min(left) > 0
    empty = answer(retriever, targeting={"all": parts}).empty
    assert (empty.by, empty.left) == ("request", min(left))
    assert empty.refusal.path == f"targeting.all[{left.index(min(left))}]"
    assert to_json(empty.refusal.clause) == parts[left.index(min(left))]
    empty = answer(retriever, targeting=NO_BRAND).empty
    assert (empty.by, empty.refusal.path, empty.left) == ("request", "targeting", 0)


def test_exclusions_are_named_when_they_take_what_targeting_leaves(retriever):
    every_ad = [ad.decode() for ad in retriever.bundle.content.encoder.item_ids]
    empty = answer(retriever, exclude_ad_ids=every_ad).empty
    assert (empty.by, empty.refusal, empty.left) == ("exclusions", None, 300)


def test_ads_are_named_when_none_may_be_shown(retriever):
    every_ad = [ad.decode() for ad in retriever.bundle.content.encoder.item_ids]
    paused = retriever.sealed.with_changes(changes(*((ad, {"status": "paused"}) for ad in every_ad)))
    for targeting in (None, NO_BRAND):
        empty = answer(retriever, paused, targeting=targeting).empty
        assert (empty.by, empty.refusal, empty.left) == ("ads", None, 0)


def test_floor_is_named_when_all_ads_promise_less(retriever):
    empty = answer(retriever, by_ecpm=True, floor=10**15).empty
    assert (empty.by, empty.refusal, empty.left) == ("floor", None, 300)


def test_nothing_is_said_of_an_answer_that_has_ads(retriever):
    assert answer(retriever).empty is None
