"""The filter of ads against the plain evaluator."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.vocabulary import look_up
from index_store.targeting.ad_filter import AdFilter
from index_store.targeting.predicates import (
    parse_predicate,
)
from tests.index_store.worlds import SPEC, catalogue, plainly, predicates


def of(encoder, features, tree):
    return AdFilter(encoder, features, tree.position_of_row, partial(look_up, encoder.item_ids))


@settings(max_examples=150, deadline=None)
@given(predicates(SPEC.ad_kinds, [f"ad-{row:02d}" for row in range(40)]), st.integers(0, 5))
def test_request_filter_leaves_what_the_plain_evaluator_does_when_predicates_are_random(raw, seed):
    encoder, ads, features, tree = catalogue(seed, 30)
    found = of(encoder, features, tree).bitmap(parse_predicate(raw, SPEC.ad_kinds))
    assert sorted(tree.rows[found.positions()].tolist()) == [row for row, ad in enumerate(ads) if plainly(raw, ad)]


@pytest.mark.parametrize("raw", [
    {"field": "price", "at_least": 0.1}, {"field": "price", "at_most": 2.0},
    {"field": "price", "at_least": 0.1, "at_most": 0.1},
    {"field": "brand", "in": ["a", 1]}, {"field": "brand", "in": []},
    {"field": "tags", "in": ["b", "nobody has this"]}, {"field": "ad_id", "in": ["ad-03", "ad-29", "ad-77"]}])
def test_a_clause_holds_for_one_ad_as_the_plain_evaluator_says(raw):
    encoder, ads, features, tree = catalogue(4, 30)
    ad_filter, clause = of(encoder, features, tree), parse_predicate(raw, SPEC.ad_kinds)
    found = [ad_filter.holds(clause, int(tree.position_of_row[row])) for row in range(30)]
    assert found == [plainly(raw, ad) for ad in ads]


@pytest.mark.parametrize("bounds", [{"at_least": -100}, {"at_most": 1000}, {"at_least": -100, "at_most": 1000}])
def test_an_ad_without_a_number_meets_no_bound(bounds):
    encoder, _, features, tree = catalogue(4, 30)
    dense = features.dense.copy()
    dense[[3, 7]] = np.nan
    found = of(encoder, replace(features, dense=dense), tree).bitmap(
        parse_predicate({"field": "price", **bounds}, SPEC.ad_kinds))
    assert sorted(set(range(30)) - set(tree.rows[found.positions()].tolist())) == [3, 7]
