"""Declarations of context that the model reads: what is refused, and what older versions still read."""

import json
from dataclasses import replace

import pytest

from index_store.declaration.spec import FeatureSpec, FieldSpec
from index_store.declaration.values import FeatureError
from tests.tiny_bundle import CONTEXT_FIELDS, SPEC

POSITION = FieldSpec("position", "categorical", model=True, serve_as="1")


@pytest.mark.parametrize(("changes", "said"), [
    ({"context_fields": (FieldSpec("hour", "dense", model=True),)}, "'hour', which is dense; declare it categorical"),
    ({"context_fields": (FieldSpec("hour", "multi", model=True),)}, "'hour', which is multi"),
    ({"context_fields": (FieldSpec("position", "categorical", serve_as="1"),)}, "the model does not read it; add"),
    ({"context_fields": (FieldSpec("click", "categorical", model=True),)}, "another column of this name"),
    ({"context_fields": (FieldSpec("request_id", "categorical", model=True),)}, "another column of this name"),
    ({"context_fields": (POSITION,), "negatives": "sampled"}, "a log of positives cannot tell what a position does"),
    ({"context_fields": (replace(POSITION, serve_as="x" * 200),)}, "position has 200 bytes"),
    ({"user_fields": (FieldSpec("age", "dense", model=True),)}, "'age', which is not a context field"),
    ({"item_fields": (*SPEC.item_fields, FieldSpec("slot", "categorical", serve_as="1"))}, "'slot', which is not a")])
def test_declaration_is_refused_when_the_model_cannot_read_it_so(changes, said):
    with pytest.raises(FeatureError, match=said):
        replace(SPEC, **changes)


def test_a_log_of_positives_may_have_context_that_is_not_fixed():
    spec = replace(SPEC, negatives="sampled", context_fields=CONTEXT_FIELDS[:1])
    assert [field.name for field in spec.model_context] == ["hour"]


def test_declaration_keeps_its_context_as_json():
    spec = replace(SPEC, context_fields=CONTEXT_FIELDS)
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert [field.name for field in spec.model_context] == ["hour", "position"]


def test_declaration_without_it_is_written_as_before():
    declared = replace(SPEC, context_fields=(FieldSpec("inventory", "categorical"),)).to_json()
    assert list(declared["context_fields"]) == [{"name": "inventory", "kind": "categorical", "role": ""}]
    assert all(set(field) == {"name", "kind", "role"} for field in declared["user_fields"] + declared["item_fields"])


@pytest.mark.parametrize(("entry", "said"), [
    ({"name": "hour", "kind": "categorical", "model": "bias"}, r"context_fields\[0\].model is 'bias'"),
    ({"name": "hour", "kind": "categorical", "model": True, "serve_as": 1}, r"context_fields\[0\].serve_as is 1")])
def test_values_of_another_type_are_refused(entry, said):
    with pytest.raises(FeatureError, match=said):
        FeatureSpec.from_json(SPEC.to_json() | {"context_fields": [entry]})
