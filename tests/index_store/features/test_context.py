"""What context adds, against sums by hand; an embedding that others share stays as it is."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.declaration.spec import FieldSpec
from index_store.features.context import REQUESTED, fixed_ids
from index_store.features.encoder import FeatureEncoder
from tests.tiny_bundle import CONTEXT_FIELDS, in_context, planted_world

ENCODER = in_context(planted_world()[0]).encoder
TABLES = in_context(planted_world()[0]).context
HOURS, POSITIONS = TABLES.embeddings[0], TABLES.shifts[1]


@pytest.mark.parametrize(("raw", "ids"), [
    ({}, [0, 0]), ({"hour": "night"}, [2, 0]), ({"hour": "day", "position": 3, "inventory": "kids"}, [1, 3]),
    ({"hour": "noon", "position": None}, [0, 0])])
def test_values_become_ids_and_unknown_ones_zero(raw, ids):
    assert ENCODER.encode_context(raw).tolist() == ids


@pytest.mark.parametrize("position", [0, 1, 2, 3])
@pytest.mark.parametrize("hour", [0, 1, 2])
def test_the_hour_is_added_to_the_user_and_the_position_is_what_is_served(hour, position):
    user = np.arange(8, dtype=np.float32)[None]
    ids = np.array([hour, position], np.int32)
    np.testing.assert_array_equal(TABLES.embed(user, ids)[0], np.arange(8, dtype=np.float32) + HOURS[hour])
    np.testing.assert_array_equal(user[0], np.arange(8))
    np.testing.assert_allclose(TABLES.shift(ids), TABLES.shifts[0][hour] + POSITIONS[1])
    np.testing.assert_allclose(TABLES.shift(ids, as_logged=True), TABLES.shifts[0][hour] + POSITIONS[position or 1])


def test_an_unknown_context_adds_what_is_served_alone():
    user = np.ones((1, 8), np.float32)
    assert TABLES.embed(user, None) is user
    np.testing.assert_array_equal(TABLES.shift(None), POSITIONS[1])


def test_fields_are_fixed_at_the_ids_of_their_values():
    assert fixed_ids(ENCODER).tolist() == [REQUESTED, 1]
    fields = (CONTEXT_FIELDS[0], FieldSpec("position", "categorical", model=True, serve_as="9"))
    other = FeatureEncoder(replace(ENCODER.spec, context_fields=fields), ENCODER.vocabularies, {}, ENCODER.item_ids)
    assert fixed_ids(other).tolist() == [REQUESTED, 0]
