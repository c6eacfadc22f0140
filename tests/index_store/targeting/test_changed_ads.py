"""Predicates that changes give to ads: their numbers stay, whatever comes later."""

from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.targeting.attributes import request_attributes
from index_store.targeting.changed_ads import ChangedAds, LivePredicates
from index_store.targeting.predicates import parse_predicate
from tests.index_store.worlds import SPEC, encoder, plainly, predicates, raw_values

ENCODER = encoder(3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(predicates(SPEC.audience_kinds), max_size=4), max_size=5), raw_values(SPEC.user_fields))
def test_truth_is_that_of_the_plain_evaluator_when_predicates_come_in_batches(batches, user):
    live, raw_of = LivePredicates(), {}
    for batch in batches:
        parsed = [parse_predicate(raw, SPEC.audience_kinds) for raw in batch]
        before = dict(live.numbers)
        live = live.extended(parsed, ENCODER)
        raw_of |= {live.numbers[one]: raw for one, raw in zip(parsed, batch, strict=True)}
        assert before.items() <= live.numbers.items()
    attributes = request_attributes(ENCODER, live.fields, stored=None, given=user, context={})
    assert live.truth(attributes).tolist() == [plainly(raw_of[number], user) for number in range(len(raw_of))]
    for predicate, number in live.numbers.items():
        assert live.predicate(number) == predicate


def test_ad_has_the_predicate_of_its_bundle_unless_a_change_gave_it_another():
    assert ChangedAds(encoder=ENCODER).predicate_at(2) is None
