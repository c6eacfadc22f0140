"""Declarations of labels that come late: what is refused, what is written, and what a bundle holds of them."""

import json
from dataclasses import replace

import pytest

from index_store.declaration.spec import FeatureSpec, TaskSpec
from index_store.declaration.values import FeatureError
from tests.tiny_bundle import CONTEXT_FIELDS, SPEC

CLICK = SPEC.tasks[0]


def late(**changes):
    return TaskSpec("sale", **{"windows": (6.0, 24.0), "time": "sold_at", **changes})


def declared(**changes):
    return replace(SPEC, tasks=(CLICK, late(**changes)))


@pytest.mark.parametrize(("changes", "said"), [
    ({"windows": (24.0, 6.0)}, r"windows \[24.0, 6.0\] of task 'sale' are not ascending; .*each once: \[6.0, 24.0\]"),
    ({"windows": (6.0, 6.0)}, "are not ascending"),
    ({"windows": (0.0, 6.0)}, "are not all numbers above 0"),
    ({"windows": (6.0, float("inf"))}, "are not all numbers above 0"),
    ({"windows": (6.0, 87_601.0)}, "the longest window of task 'sale' has 87601 hours; give at most 87,600 hours"),
    ({"windows": ()}, "task 'sale' has time, but no windows"),
    ({"time": ""}, "task 'sale' has windows, but no time"),
    ({"time": "click"}, "is to be read from the column 'click'"),
    ({"time": "sold at"}, "is to be read from the column 'sold at'"),
    ({"time": "request_id"}, "is to be read from the column 'request_id'")])
def test_windows_are_refused_when_they_cannot_be_learned_so(changes, said):
    with pytest.raises(FeatureError, match=said):
        declared(**changes)


def test_windows_are_refused_without_negatives_or_times_and_beside_a_column_of_the_same_name():
    with pytest.raises(FeatureError, match="the log holds positives only"):
        replace(declared(), negatives="sampled")
    with pytest.raises(FeatureError, match="history_ordered says that times order nothing"):
        replace(declared(), history_ordered=False)
    with pytest.raises(FeatureError, match="is to be read from the column 'hour'"):
        replace(declared(time="hour"), context_fields=CONTEXT_FIELDS)
    with pytest.raises(FeatureError, match="of task 'lease' is to be read from the column 'sold_at'"):
        replace(SPEC, tasks=(CLICK, late(), replace(late(), name="lease")))


def test_a_declaration_keeps_its_windows_as_json_and_one_without_is_written_as_before():
    spec = declared()
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert all(set(task) == {"name", "weight", "bid_type"} for task in SPEC.to_json()["tasks"])
    whole = SPEC.to_json() | {"tasks": [{"name": "sale", "windows": [6, 24], "time": "sold_at"}]}
    assert FeatureSpec.from_json(whole).tasks[0].windows == (6, 24)


def test_windows_of_another_type_are_refused():
    with pytest.raises(FeatureError, match=r"tasks\[0\].windows\[1\] is 'day', of type str; give a number"):
        FeatureSpec.from_json(SPEC.to_json() | {"tasks": [{"name": "sale", "windows": [6, "day"], "time": "sold_at"}]})
    with pytest.raises(FeatureError, match=r"tasks\[0\].windows is 6; give a list, each entry a number"):
        FeatureSpec.from_json(SPEC.to_json() | {"tasks": [{"name": "sale", "windows": 6, "time": "sold_at"}]})


def test_training_has_a_logit_for_each_shorter_window_and_a_bundle_none():
    spec = replace(SPEC, tasks=(late(windows=(1.0, 2.0, 3.0)), CLICK, replace(late(time="left_at"), name="lease")))
    assert spec.window_heads == (0, 0, 2)
    assert spec.served == replace(SPEC, tasks=(TaskSpec("sale"), CLICK, TaskSpec("lease")))
    assert SPEC.served == SPEC
