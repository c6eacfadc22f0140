"""Plain predicates against compiled ones."""

from hypothesis import given, settings

from index_store.targeting.attributes import request_attributes
from index_store.targeting.predicate_program import compile_predicates
from index_store.targeting.predicates import parse_predicate, to_json
from loadtest.bench.plain_predicates import holds
from tests.index_store.worlds import SPEC, encoder, predicates, raw_values

KINDS = SPEC.audience_kinds


def as_text(value):
    return [str(one) for one in value] if isinstance(value, list) else str(value)


@settings(max_examples=100, deadline=None)
@given(predicates(KINDS), raw_values(SPEC.user_fields), raw_values(SPEC.context_fields))
def test_a_predicate_holds_when_the_compiled_one_does(raw, user, context):
    parsed = parse_predicate(raw, KINDS)
    program = compile_predicates([parsed], encoder(1))
    attributes = request_attributes(encoder(1), program.fields, stored=None, given=user, context=context)
    values = {name: value if KINDS[name] in ("dense", "location") else as_text(value)
              for name, value in (user | context).items() if value is not None}
    assert program.truth(attributes).tolist() == [holds(to_json(parsed), values)]
