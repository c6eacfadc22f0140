"""The declaration of a log: the same after JSON, and refused where it contradicts itself."""

import pytest

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.declaration.values import FeatureError

SPEC = FeatureSpec((FieldSpec("age", "dense"), FieldSpec("country", "categorical"), FieldSpec("likes", "multi")),
                   (FieldSpec("price", "dense"), FieldSpec("brand", "categorical")), (TaskSpec("click"),),
                   "impressions", (KeyFamily("brand", "brand", "match"), KeyFamily("near", "ad_id", "co_click", 3)),
                   history_length=3)



def test_spec_is_the_same_when_it_went_through_json():
    assert FeatureSpec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(("change", "said"), [
    ({"tasks": []}, "no task is declared"),
    ({"tasks": [{"name": "click"}, {"name": "click"}]}, "declared twice"),
    ({"tasks": [{"name": "click", "weight": -1.0}]}, "weight -1.0"),
    ({"tasks": [{"name": "click", "weight": float("nan")}]}, "weight nan"),
    ({"user_fields": [{"name": "user_id", "kind": "dense"}]}, "not a usable name"),
    ({"user_fields": [{"name": "two words", "kind": "dense"}]}, "not a usable name"),
    ({"user_fields": [{"name": "age", "kind": "text"}]}, "kind 'text'"),
    ({"negatives": "some"}, "negatives 'some' is unknown"),
    ({"history_length": 0}, "history_length 0"),
    ({"key_families": [{"name": "f", "item_field": "price", "via": "match"}]}, "not a categorical or multi item"),
    ({"key_families": [{"name": "f", "item_field": "brand", "via": "magic"}]}, "via 'magic'"),
    ({"key_families": [{"name": "f", "item_field": "brand", "via": "co_click"}]}, "need at least 1"),
    ({"key_families": [{"name": "f", "item_field": "ad_id", "via": "similar_users"}]}, "need at least 1"),
    ({"key_families": [{"name": "f", "item_field": "brand", "via": "similar_users", "neighbours": 5}]}, "use ad_id"),
])
def test_spec_is_refused_when_a_declaration_is_wrong(change, said):
    with pytest.raises(FeatureError, match=said):
        FeatureSpec.from_json(SPEC.to_json() | change)
