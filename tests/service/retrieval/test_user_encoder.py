"""Users of queries: stored features, those that a request replaces, and the count of an inline history."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.features.values import FeatureError
from index_store.targeting.predicates import PredicateError
from index_store.targeting.targeting import Targeting
from service.contract.query import HistoryCount, Query
from service.retrieval.user_encoder import UserEncoder


@pytest.fixture(scope="module")
def encoder(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    return UserEncoder(content, Targeting(content.encoder, content.items, content.tree, content.targeting, 1))


def query(user_id=b"user-05", features=None, **fields):
    return Query(user_id=user_id, top_k=5, task_weights=np.array([1, 0], np.float32), user_features=features, **fields)


def test_stored_fields_are_replaced_one_by_one_when_some_are_given(encoder):
    stored = encoder.encode(query()).features
    given = encoder.encode(query(features={"country": "country-3"})).features
    assert given.dense.tolist() == stored.dense.tolist()
    assert given.multi[0].values.tolist() == stored.multi[0].values.tolist()
    assert given.categorical.tolist() == [[4]]
    assert (given.dense.dtype, given.categorical.dtype) == (np.float32, np.int32)
    emptied = encoder.encode(query(features={"interests": [], "age": None})).features
    assert emptied.multi[0].values.tolist() == []
    assert emptied.dense.tolist() == [[0.0]]
    assert emptied.categorical.tolist() == stored.categorical.tolist()


def test_kind_says_where_the_features_come_from(encoder):
    assert encoder.encode(query()).kind == encoder.encode(query(features={})).kind == "known"
    assert encoder.encode(query(b"nobody")).kind == "unknown"
    for user in (b"user-05", b"nobody"):
        assert encoder.encode(query(user, {"age": 3})).kind == "inline"


def test_history_is_counted_and_read_whole_when_a_request_gives_one(encoder):
    ids = ["ad-0007", "none", *(f"ad-{i:04d}" for i in range(30)), 5]
    user = encoder.encode(query(features={"history": ids}))
    assert user.history_count == HistoryCount(known=31, unknown=2)
    assert user.history.tolist() == [7, *range(30)]  # not only the 20 that the user tower reads
    assert user.history.dtype == np.int32


def test_history_is_the_stored_one_and_not_counted_when_a_request_gives_none(encoder):
    stored = encoder.encode(query())
    assert stored.history_count is None
    assert encoder.encode(query(features={"age": 3})).history_count is None
    assert encoder.encode(query(features={"age": 3})).history.tolist() == stored.history.tolist()


@pytest.mark.parametrize(("fields", "error"), [
    ({"features": {"height": 1}}, FeatureError), ({"features": {"history": "ad-0001"}}, FeatureError),
    ({"context": {"weather": "rain"}}, FeatureError), ({"targeting": {}}, PredicateError)])
def test_query_is_refused_when_features_context_or_targeting_are_unfit(encoder, fields, error):
    with pytest.raises(error):
        encoder.encode(query(**fields))
