"""Declarations: each key that is missing, unknown or of the wrong type is named, with what to give."""

import json

import pytest

from index_store.declaration.reading import read_declaration
from index_store.declaration.spec import FeatureSpec
from index_store.declaration.values import FeatureError
from tests.index_store.worlds import SPEC

ENTRY = {"user_fields": "name, kind", "item_fields": "name, kind", "tasks": "name",
         "key_families": "name, item_field, via"}
CHOICES = {"kind": "'dense' or 'categorical' or 'multi' or 'location'",
           "via": "'match' or 'co_click' or 'similar_users'",
           "name": "a string", "item_field": "a string"}


def declared():
    return json.loads(json.dumps(SPEC.to_json()))


def refusal(raw):
    with pytest.raises(FeatureError) as caught:
        read_declaration(FeatureSpec, raw)
    return str(caught.value)


def test_a_declaration_is_the_same_when_it_is_read_back():
    assert read_declaration(FeatureSpec, declared()) == SPEC


@pytest.mark.parametrize("key", ENTRY)
def test_a_missing_list_is_named_with_what_its_entries_need(key):
    raw = declared()
    del raw[key]
    assert refusal(raw) == f"the declaration lacks the key {key!r}; give a list, each entry an object with {ENTRY[key]}"


def test_missing_negatives_are_named_with_their_choices():
    raw = declared()
    del raw["negatives"]
    assert refusal(raw) == "the declaration lacks the key 'negatives'; give 'impressions' or 'sampled'"


@pytest.mark.parametrize("key", ["history_length", "history_ordered", "context_fields"])
def test_a_key_with_a_default_may_be_missing(key):
    raw = declared()
    del raw[key]
    default = FeatureSpec.__dataclass_fields__[key].default
    assert getattr(read_declaration(FeatureSpec, raw), key) == default


@pytest.mark.parametrize(("group", "key"), [
    *((group, key) for group in ("user_fields", "item_fields", "context_fields") for key in ("name", "kind")),
    ("tasks", "name"), *(("key_families", key) for key in ("name", "item_field", "via"))])
def test_a_key_missing_in_an_entry_is_named_with_its_choices(group, key):
    raw = declared()
    last = len(raw[group]) - 1
    del raw[group][last][key]
    assert refusal(raw) == f"{group}[{last}] lacks the key {key!r}; give {CHOICES[key]}"


@pytest.mark.parametrize(("group", "known"), [
    (None, "user_fields, item_fields, tasks, negatives, key_families, history_length, history_ordered, context_fields, "
           "exclude_history, user_ids"),
    ("user_fields", "name, kind, role, model, serve_as, optional"), ("tasks", "name, weight, bid_type, windows, time"),
    ("key_families", "name, item_field, via, neighbours, user_field")])
def test_an_unknown_key_is_named_with_the_known_ones(group, known):
    raw = declared()
    (raw if group is None else raw[group][0])["nmae"] = 1
    where = "the declaration" if group is None else f"{group}[0]"
    near = "did you mean 'name'? " if group else ""
    assert refusal(raw) == f"{where} has the unknown key 'nmae'; {near}use {known}"


@pytest.mark.parametrize(("change", "said"), [
    ({"user_fields": 7}, "user_fields is 7; give a list, each entry an object with name, kind"),
    ({"user_fields": {"age": "dense"}}, "user_fields is {'age': 'dense'}; give a list"),
    ({"user_fields": ["age"]}, "user_fields[0] is 'age'; give an object with name, kind"),
    ({"user_fields": [{"name": 7, "kind": "dense"}]}, "user_fields[0].name is 7, of type int; give a string"),
    ({"tasks": [{"name": "click", "weight": "1"}]}, "tasks[0].weight is '1', of type str; give a number"),
    ({"tasks": [{"name": "click", "weight": True}]}, "tasks[0].weight is True, of type bool; give a number"),
    ({"history_length": 2.5}, "history_length is 2.5, of type float; give an integer"),
    ({"history_ordered": 1}, "history_ordered is 1, of type int; give true or false"),
    ({"negatives": 7}, "negatives 7 is unknown; use one of impressions, sampled"),
])
def test_a_value_of_the_wrong_type_is_named_with_the_right_one(change, said):
    assert refusal(declared() | change).startswith(said)


@pytest.mark.parametrize("raw", [None, 3, [], "features"])
def test_a_declaration_that_is_no_object_is_refused(raw):
    assert "give an object with user_fields, item_fields, tasks, negatives, key_families" in refusal(raw)
