"""Bitmaps over positions against plain sums, request filters and signatures against the plain evaluator."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from index_store.targeting.ad_filter import AdFilter
from index_store.targeting.attributes import audience_facts
from index_store.targeting.eligibility import Eligible, PositionBitmap
from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import MOST_MASKS, AdTargeting, Audience, SignatureCache, Targeting
from tests.index_store.worlds import SPEC, catalogue, plainly, predicates, raw_values

flags = arrays.arrays(np.bool_, st.integers(1, 400) | st.sampled_from([63, 64, 65, 128]))


def intervals(n):
    return st.lists(st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted), max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.data(), flags)
def test_counts_are_plain_sums_when_bitmap_and_exclusions_are_random(data, members):
    n = len(members)
    everyone = data.draw(st.booleans())
    excluded = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=20)), np.int32)
    eligible = Eligible.of(n, None if everyone else PositionBitmap.of(members), excluded)
    plain = np.ones(n, bool) if everyone else members.copy()
    plain[excluded] = False
    assert eligible.total == plain.sum()
    assert eligible.positions().tolist() == np.flatnonzero(plain).tolist()
    assert eligible.contains(np.arange(n)).tolist() == plain.tolist()
    bounds = np.array(data.draw(intervals(n)), np.int32).reshape(-1, 2)
    counts = eligible.counts(bounds[:, 0], bounds[:, 1])
    assert counts.dtype == np.int64
    assert counts.tolist() == [plain[first:end].sum() for first, end in bounds]


@settings(max_examples=80, deadline=None)
@given(flags, st.integers(0, 2**32 - 1))
def test_bitmaps_combine_as_flags_do_when_joined_or_inverted(one, seed):
    other = np.random.default_rng(seed).random(len(one)) < 0.5
    left, right = PositionBitmap.of(one), PositionBitmap.of(other)
    for bitmap, plain in ((left & right, one & other), (left | right, one | other), (~left, ~one),
                          (PositionBitmap.full(len(one)), one | True)):
        assert bitmap.positions().tolist() == np.flatnonzero(plain).tolist()
        assert bitmap.total == plain.sum()


def test_a_signature_of_a_million_ads_is_small_when_it_is_kept():
    bitmap = PositionBitmap.of(np.random.default_rng(0).random(1_000_000) < 0.3)
    assert bitmap.words.nbytes + bitmap.ranks.nbytes < 190_000


@settings(max_examples=150, deadline=None)
@given(predicates(SPEC.ad_kinds, [f"ad-{row:02d}" for row in range(40)]), st.integers(0, 5))
def test_request_filter_leaves_what_the_plain_evaluator_does_when_predicates_are_random(raw, seed):
    encoder, ads, features, tree = catalogue(seed, 30)
    found = AdFilter(encoder, features, tree).bitmap(parse_predicate(raw, SPEC.ad_kinds))
    assert sorted(tree.rows[found.positions()].tolist()) == [row for row, ad in enumerate(ads) if plainly(raw, ad)]


@settings(max_examples=60, deadline=None)
@given(st.lists(predicates(SPEC.audience_kinds), min_size=1, max_size=5), raw_values(SPEC.user_fields),
       raw_values(SPEC.context_fields), st.none() | predicates(SPEC.ad_kinds, ["ad-01", "ad-02"]),
       st.lists(st.integers(0, 29), max_size=4), st.sampled_from([1, MOST_MASKS]))
def test_eligible_ads_are_those_that_both_sides_accept_when_all_is_random(raw, user, context, asked, excluded, repeat):
    encoder, ads, features, tree = catalogue(0, 30)
    parsed = [parse_predicate(predicate, SPEC.audience_kinds) for predicate in raw] * repeat
    of_row = np.random.default_rng(1).integers(0, len(parsed) + 1, len(ads)).astype(np.int32)
    targeting = Targeting(encoder, features, tree, AdTargeting.of(encoder, parsed, of_row[tree.rows]))
    audience = Audience(targeting.facts(None, user, context),
                        None if asked is None else parse_predicate(asked, SPEC.ad_kinds))
    willing = [number == 0 or plainly(raw[(number - 1) % len(raw)], user | context) for number in of_row]
    fitting = [asked is None or plainly(asked, ad) for ad in ads]
    expected = [row for row in range(len(ads)) if willing[row] and fitting[row] and row not in excluded]
    for _ in range(2):  # cold, then from the cache
        eligible = targeting.eligible(audience, np.array(excluded, np.int64))
        if eligible is None:
            assert expected == list(range(len(ads)))
        else:
            assert sorted(tree.rows[eligible.positions()].tolist()) == expected
    for row in range(len(ads)):
        refusal = targeting.refusal(row, audience)
        assert (refusal and refusal.by) == (None if willing[row] and fitting[row] else
                                            "request" if willing[row] else "ad")


def test_predicates_are_kept_as_written_when_they_are_compiled():
    encoder, _, _, tree = catalogue(0, 30)
    raw = [{"field": "age", "at_least": 21.0}, {"not": {"field": "country", "in": ["ü"]}}]
    parsed = [parse_predicate(predicate, SPEC.audience_kinds) for predicate in raw]
    ads = AdTargeting.of(encoder, parsed, np.zeros(tree.n_items, np.int32))
    assert [ads.predicate(number, encoder) for number in (1, 2)] == parsed


def test_nothing_is_searched_for_when_nobody_targets():
    encoder, _, features, tree = catalogue(0, 30)
    targeting = Targeting(encoder, features, tree, None)
    assert targeting.eligible(Audience()) is None
    assert targeting.eligible(Audience(), np.empty(0, np.int64)) is None
    assert targeting.eligible(Audience(), np.array([3, 3])).total == 29
    assert targeting.eligible(Audience({}, parse_predicate({"all": []}, {}))) is None


def test_oldest_bitmaps_go_first_when_the_cache_is_full():
    made = []

    def bitmap(key):
        def make():
            made.append(key)
            return PositionBitmap.of(np.array([True]))

        return make

    cache = SignatureCache(2)
    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):
        cache.get(key, bitmap(key))
    assert made == [b"a", b"b", b"c", b"b"]
    assert len(cache) == 2


def test_threads_get_the_right_bitmaps_when_they_share_a_full_cache():
    encoder, _, features, tree = catalogue(0, 30)
    targeting = Targeting(encoder, features, tree, None, cache_entries=2)
    wrong = []

    def ask(seed):
        for at in np.random.default_rng(seed).integers(0, 30, 200).tolist():
            asked = parse_predicate({"field": "ad_id", "in": [f"ad-{at:02d}"]}, SPEC.ad_kinds)
            if tree.rows[targeting.eligible(Audience({}, asked)).positions()].tolist() != [at]:
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(targeting.cache) <= 2


@pytest.mark.parametrize("fields", [set(), {"age"}, {"device", "country"}])
def test_facts_hold_no_more_than_was_asked_for_when_much_is_known(fields):
    encoder, *_ = catalogue(0, 3)
    facts = audience_facts(encoder, fields, stored=encoder.encode_user({"age": 1.0, "country": "a"}),
                           given={"interests": ["b"]}, context={"device": "c", "hour": 4})
    assert facts.keys() == fields
