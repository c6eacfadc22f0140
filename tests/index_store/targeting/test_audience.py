"""Audience: many users at once, as each by itself."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.targeting.audience import Audience
from index_store.targeting.predicates import parse_predicate
from tests.index_store.worlds import SPEC, encoder, plainly, predicates, raw_values

ENCODER = encoder(3)
KINDS = {field.name: field.kind for field in SPEC.user_fields}


@settings(max_examples=100)
@given(predicates(KINDS), st.lists(raw_values(SPEC.user_fields), min_size=1, max_size=6))
def test_predicate_holds_for_the_users_for_whom_it_holds_one_by_one(raw, users):
    users = [user | {"age": 31.7 if user["age"] is None else user["age"]} for user in users]  # the mean, as stored
    rows = [ENCODER.encode_user(user) for user in users]
    stored = Features(np.concatenate([row.dense for row in rows]), np.concatenate([row.categorical for row in rows]),
                      (Ragged.concatenated([row.multi[0] for row in rows]),))
    found = Audience(ENCODER, stored).holds(parse_predicate(raw, KINDS))
    assert found.tolist() == [plainly(raw, user) for user in users]


def test_nobody_is_there_when_there_are_no_users():
    nobody = Features(np.empty((0, 1), np.float32), np.empty((0, 1), np.int32), (Ragged.of([]),))
    predicate = parse_predicate({"any": [{"field": "age", "at_least": 1}, {"field": "interests", "in": ["a"]}]}, KINDS)
    assert Audience(ENCODER, nobody).holds(predicate).tolist() == []
