"""The retriever in this process, as the bench uses it."""

import asyncio
import dataclasses
import time

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.changes.change_log import Change, Kind
from index_store.declaration.values import FeatureError
from index_store.live.users import FEATURES
from loadtest.bench.added import raw_features
from service.contract.query import Query, SearchOptions
from service.retrieval.retriever import Retriever
from service.retrieval.search_queue import DeadlinePassedError
from tests.index_store.live.changed import changes

CLICK = np.array([1, 0], np.float32)


@pytest.fixture(scope="module")
def retriever(tiny_bundle):
    retriever = Retriever(Bundle.open(tiny_bundle))
    yield retriever
    retriever.close()


def query(user_id=b"user-05", features=None, excluded=(), exact=True):
    return Query(user_id=user_id, user_features=features, exclude_ad_ids=excluded, top_k=20, beam_width=(3, 6),
                 exact=exact, task_weights=CLICK)


def test_search_of_an_encoded_user_equals_retrieve_when_options_agree(retriever):
    for exact in (True, False):
        answer = asyncio.run(retriever.retrieve(query(exact=exact)))
        nothing = np.empty(0, np.int64)
        options = SearchOptions(top_k=20, beam_width=(3, 6), exact=exact, task_weights=CLICK, excluded=nothing)
        found = retriever.search(retriever.encode(query()), options)
        np.testing.assert_array_equal(found.rows, answer.found.rows)
        np.testing.assert_array_equal(found.scores, answer.found.scores)
        assert answer.user_cache == "bypass"
        assert answer.ad_ids == [f"ad-{row:04d}" for row in found.rows]


def test_excluded_rows_are_unique_and_known_when_ids_repeat(retriever):
    asked = query(excluded=["ad-0007", "none", "ad-0003", "ad-0007", 5])
    assert retriever.excluded(asked, retriever.encode(asked)).tolist() == [3, 7]
    with pytest.raises(FeatureError):
        asyncio.run(retriever.retrieve(query(excluded=[""])))


def test_caps_hold_beside_added_ads_and_by_either_name_of_a_field(retriever):
    content = retriever.bundle.content
    brand = content.items.categorical[:, 1]
    change = Change(sequence=1, at=0.0, kind=Kind.AD, id="new", fields={FEATURES: raw_features(content, 2)})
    snapshot = retriever.sealed.with_changes([change])
    for name, exact in (("brand", True), ("advertiser", True), ("advertiser", False)):
        asked = dataclasses.replace(query(exact=exact), top_k=301, max_per={name: 2})
        answer = asyncio.run(retriever.retrieve(asked, snapshot=snapshot))
        brands = [int(brand[2 if row == 300 else row]) for row in answer.found.rows]
        assert np.bincount(brands).tolist() == [min(2, n) for n in np.bincount(brand).tolist()]
        assert answer.estimated_overlap == (1.0 if exact else None)
        assert answer.found.eligible == 301
        every = asyncio.run(retriever.retrieve(dataclasses.replace(asked, max_per={}), snapshot=snapshot)).found.rows
        best = [row for row in every.tolist() if brand[2 if row == 300 else row] == brand[2]][:2]
        assert [row for row, one in zip(answer.found.rows.tolist(), brands, strict=True) if one == brand[2]] == best


def test_ads_of_the_history_are_left_out_when_a_query_asks_or_the_bundle_declares_it(retriever, monkeypatch):
    for features in (None, {"history": ["ad-0001", "ad-0002", "none"]}):
        asked = dataclasses.replace(query(b"user-07", features), top_k=300)
        history = set(retriever.encode(asked).history.tolist())
        assert len(history) > 1
        for declared, given, left_out in ((False, None, False), (False, True, True), (True, None, True),
                                          (True, False, False)):
            monkeypatch.setattr(retriever, "_spec", dataclasses.replace(retriever._spec, exclude_history=declared))
            given_query = dataclasses.replace(asked, exclude_history=given)
            found = set(asyncio.run(retriever.retrieve(given_query)).found.rows.tolist())
            assert found == (set(range(300)) - history if left_out else set(range(300)))


def test_history_is_left_out_where_an_ad_of_it_has_another_row_since_its_features_changed(retriever):
    content = retriever.bundle.content
    change = Change(sequence=1, at=0.0, kind=Kind.AD, id="ad-0001", fields={FEATURES: raw_features(content, 2)})
    snapshot = retriever.sealed.with_changes([change])
    assert snapshot.row(b"ad-0001") == 300
    asked = dataclasses.replace(query(b"x", {"history": ["ad-0001"]}), top_k=300, exclude_history=True)
    answer = asyncio.run(retriever.retrieve(asked, snapshot=snapshot))
    assert len(answer.ad_ids) == 299
    assert "ad-0001" not in answer.ad_ids
    told = asyncio.run(retriever.retrieve(dataclasses.replace(asked, explain_ad="ad-0001"),
                                        snapshot=snapshot)).explanation
    assert told.excluded == "exclude_history"


def test_digest_depends_on_every_input_of_the_tower_when_features_differ(retriever):
    base = {"age": 30, "country": "country-1", "interests": ["interest-1"], "history": ["ad-0001", "ad-0002"]}

    def digest(changes=None, user_id=b"x"):
        return retriever.tower_input(retriever.encode(query(user_id, base | (changes or {})))).digest()

    different = [{"age": 31}, {"country": "country-2"}, {"interests": []}, {"interests": ["interest-1"] * 2},
                 {"history": ["ad-0001"]}, {"history": ["ad-0002", "ad-0001"]}]
    assert len({digest(), *(digest(change) for change in different)}) == 1 + len(different)
    assert digest(user_id=b"y") == digest()
    assert digest({"country": "country-1", "history": ["ad-0001", "none", "ad-0002"]}) == digest()


def test_search_is_not_begun_when_its_answer_was_due_before(retriever):
    with pytest.raises(DeadlinePassedError):
        asyncio.run(retriever.retrieve(query(), answer_by=time.perf_counter() - 1))


def test_ads_are_scored_by_name_when_asked(retriever):
    answer = asyncio.run(retriever.retrieve(query()))
    np.testing.assert_allclose(retriever.score_ads(query(), answer.ad_ids), answer.found.scores, rtol=1e-5)
    assert retriever.score_ads(query(), []).shape == (0,)
    with pytest.raises(FeatureError, match="'none' is not in the bundle; name ads of the bundle"):
        retriever.score_ads(query(), ["ad-0001", "none"])


@pytest.mark.parametrize("exact", [True, False])
def test_withdrawn_ads_are_left_out_and_the_rest_keeps_its_scores_when_a_snapshot_is_given(retriever, exact):
    before = asyncio.run(retriever.retrieve(query(exact=exact)))
    scores = dict(zip(before.ad_ids, before.found.scores.tolist(), strict=True))
    first, second = before.ad_ids[:2]
    snapshot = retriever.sealed.with_changes(changes((first, "paused"), (second, "deleted")))
    after = asyncio.run(retriever.retrieve(query(exact=exact), snapshot=snapshot))
    assert (after.snapshot, after.found.eligible, len(after.ad_ids)) == (snapshot, 298, 20)
    assert after.ad_ids[:18] == before.ad_ids[2:]
    found = dict(zip(after.ad_ids, after.found.scores.tolist(), strict=True))
    assert {ad: scores[ad] for ad in found if ad in scores} == pytest.approx({ad: found[ad] for ad in scores
                                                                              if ad in found})
    again = asyncio.run(retriever.retrieve(query(exact=exact)))
    assert (again.ad_ids, again.snapshot.as_of) == (before.ad_ids, 0)


def test_estimate_of_the_beam_stays_when_ads_are_withdrawn_and_goes_when_they_are_targeted(retriever):
    snapshot = retriever.sealed.with_changes(changes(("ad-0001", "paused")))
    targeted = dataclasses.replace(query(exact=False), targeting={"field": "ad_id", "in": ["ad-0002"]}, beam_width=None)
    plain = dataclasses.replace(targeted, targeting=None)
    curve = retriever.beams.of(plain, None)
    assert asyncio.run(retriever.retrieve(plain, snapshot=snapshot)).estimated_overlap == curve.overlap
    assert asyncio.run(retriever.retrieve(targeted, snapshot=snapshot)).estimated_overlap is None
