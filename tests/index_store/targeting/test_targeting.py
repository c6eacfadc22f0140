"""Eligible ads of a request, and why others are refused, against the plain evaluator."""

import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.targeting.changed_ads import ChangedAds
from index_store.targeting.eligibility import PositionBitmap
from index_store.targeting.predicates import (
    parse_predicate,
)
from index_store.targeting.targeting import MOST_MASKS, AdTargeting, RequestTargeting, Targeting
from tests.index_store.worlds import SPEC, catalogue, plainly, predicates, raw_values


@settings(max_examples=60, deadline=None)
@given(st.lists(predicates(SPEC.audience_kinds), min_size=1, max_size=5), raw_values(SPEC.user_fields),
       raw_values(SPEC.context_fields), st.none() | predicates(SPEC.ad_kinds, ["ad-01", "ad-02"]),
       st.lists(st.integers(0, 29), max_size=4), st.sampled_from([1, MOST_MASKS]))
def test_eligible_ads_are_those_that_both_sides_accept_when_all_is_random(raw, user, context, asked, excluded, repeat):
    encoder, ads, features, tree = catalogue(0, 30)
    parsed = [parse_predicate(predicate, SPEC.audience_kinds) for predicate in raw] * repeat
    of_row = np.random.default_rng(1).integers(0, len(parsed) + 1, len(ads)).astype(np.int32)
    targeting = Targeting(encoder, features, tree, AdTargeting.of(encoder, parsed, of_row[tree.rows]))
    request = RequestTargeting(targeting.attributes(None, user, context),
                        None if asked is None else parse_predicate(asked, SPEC.ad_kinds))
    willing = [number == 0 or plainly(raw[(number - 1) % len(raw)], user | context) for number in of_row]
    fitting = [asked is None or plainly(asked, ad) for ad in ads]
    expected = [row for row in range(len(ads)) if willing[row] and fitting[row] and row not in excluded]
    for _ in range(2):  # cold, then from the cache
        eligible = targeting.eligible(request, np.array(excluded, np.int64))
        if eligible is None:
            assert expected == list(range(len(ads)))
        else:
            assert sorted(tree.rows[eligible.positions()].tolist()) == expected
    for row in range(len(ads)):
        assert targeting.predicate_of(row) == (parsed[of_row[row] - 1] if of_row[row] else None)
        refusal = targeting.refusal(row, request)
        assert (refusal and refusal.by) == (None if willing[row] and fitting[row] else
                                            "request" if willing[row] else "ad")


def test_predicates_are_kept_as_written_when_they_are_compiled():
    encoder, _, _, tree = catalogue(0, 30)
    raw = [{"field": "age", "at_least": 21.0}, {"not": {"field": "country", "in": ["ü"]}}]
    parsed = [parse_predicate(predicate, SPEC.audience_kinds) for predicate in raw]
    ads = AdTargeting.of(encoder, parsed, np.zeros(tree.n_items, np.int32))
    assert [ads.predicate(number, encoder) for number in (1, 2)] == parsed


def test_nothing_is_evaluated_without_targeting():
    encoder, _, features, tree = catalogue(0, 30)
    targeting = Targeting(encoder, features, tree, None)
    assert targeting.eligible(RequestTargeting()) is None
    assert targeting.eligible(RequestTargeting(), np.empty(0, np.int64)) is None
    assert targeting.eligible(RequestTargeting(), np.array([3, 3])).total == 29
    assert targeting.eligible(RequestTargeting({}, parse_predicate({"all": []}, {}))) is None


def test_threads_get_the_right_bitmaps_when_they_share_a_full_cache():
    encoder, _, features, tree = catalogue(0, 30)
    targeting = Targeting(encoder, features, tree, None, cache_entries=2)
    wrong = []

    def ask(seed):
        for at in np.random.default_rng(seed).integers(0, 30, 200).tolist():
            asked = parse_predicate({"field": "ad_id", "in": [f"ad-{at:02d}"]}, SPEC.ad_kinds)
            if tree.rows[targeting.eligible(RequestTargeting({}, asked)).positions()].tolist() != [at]:
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(targeting.cache) <= 2


def test_cached_bitmaps_survive_when_ads_are_withdrawn():
    encoder, _, features, tree = catalogue(0, 30)
    targeting = Targeting(encoder, features, tree, None)
    asked = RequestTargeting({}, parse_predicate({"field": "brand", "in": ["a", "b"]}, SPEC.ad_kinds))
    accepted = targeting.eligible(asked).bitmap
    live = PositionBitmap.of(np.arange(30) % 3 > 0)
    changed, inverse = (ChangedAds(encoder=encoder, live=one) for one in (live, ~live))
    combined = targeting.eligible(asked, changed=changed).bitmap
    expected = [at for at in accepted.positions().tolist() if at % 3]
    assert combined.positions().tolist() == expected
    assert targeting.eligible(asked, changed=changed).bitmap is combined  # kept, until others are withdrawn
    other = targeting.eligible(asked, changed=inverse).bitmap
    assert other.positions().tolist() == [at for at in accepted.positions().tolist() if not at % 3]
    assert targeting.eligible(asked).bitmap is accepted
    assert len(targeting.cache) == 1


def test_bitmap_of_the_live_ads_is_taken_as_it_is_when_targeting_accepts_all():
    encoder, _, features, tree = catalogue(0, 30)
    targeting = Targeting(encoder, features, tree, None)
    live = PositionBitmap.of(np.arange(30) > 3)
    changed = ChangedAds(encoder=encoder, live=live)
    assert targeting.eligible(RequestTargeting(), changed=changed).bitmap is live
    assert targeting.eligible(RequestTargeting({}, parse_predicate({"all": []}, {})), changed=changed).bitmap is live
    assert targeting.eligible(RequestTargeting(), np.array([0]), changed).bitmap is live


def test_bitmaps_of_the_rest_are_shared_when_positions_differ():
    encoder, _, features, tree = catalogue(0, 30)
    circles = [{"lat": 52, "lon": 4, "km": km} for km in (1, 10, 100)]
    raw = [*({"field": "place", "near": [circle]} for circle in circles), {"field": "hour", "at_least": 8}]
    parsed = [parse_predicate(predicate, SPEC.audience_kinds) for predicate in raw]
    of_position = np.arange(30, dtype=np.int32) % 5
    targeting = Targeting(encoder, features, tree, AdTargeting.of(encoder, parsed, of_position))

    def eligible(context, asked=None):
        request = RequestTargeting(targeting.attributes(None, {}, context), asked)
        return set((targeting.eligible(request).positions() % 5).tolist())

    assert eligible({"hour": 7}) == {0}
    for lat, found in ((52, {1, 2, 3}), (52.05, {2, 3}), (52.0501, {2, 3}), (52.5, {3}), (-52, set())):
        assert eligible({"hour": 7, "place": {"lat": lat, "lon": 4}}) == {0} | found
    assert len(targeting.cache) == 1
    nobody = parse_predicate({"field": "ad_id", "in": []}, SPEC.ad_kinds)
    assert eligible({"hour": 7, "place": {"lat": 52, "lon": 4}}, nobody) == set()
