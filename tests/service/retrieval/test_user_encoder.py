"""Users of queries: stored features, those that a request replaces, and the count of an inline history."""

from dataclasses import dataclass

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.changes.change_log import Change, Kind
from index_store.declaration.values import FeatureError
from index_store.live.snapshot import Snapshot
from index_store.targeting.predicates import PredicateError
from index_store.targeting.targeting import Targeting
from service.contract.query import HistoryCount, Query
from service.retrieval.user_encoder import UserEncoder


@dataclass
class Encoder:
    """An encoder, and the snapshot of the bundle alone."""

    users: UserEncoder
    sealed: Snapshot

    def encode(self, query, *changes):
        """A user after some changes, each of a kind, an id and fields."""
        return self.users.encode(query, self.sealed.with_changes([
            Change(sequence=number, at=float(number), kind=kind, id=subject, fields=fields)
            for number, (kind, subject, fields) in enumerate(changes, start=1)]))


def click(row, user="user-05"):
    return Kind.EVENT, user, {"ad_id": f"ad-{row:04d}", "type": "click"}


@pytest.fixture(scope="module")
def encoder(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    targeting = Targeting(content.encoder, content.items, content.tree, content.targeting, 1)
    users = UserEncoder(content, targeting)
    return Encoder(users, Snapshot.sealed(content.encoder, content.tree, targeting, None))


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


def test_live_clicks_come_before_the_stored_history_and_a_requests_own_history_replaces_both(encoder):
    stored = encoder.encode(query()).history.tolist()
    user = encoder.encode(query(), click(7), click(299), click(7), click(3, user="user-06"))
    assert (user.history.tolist(), user.kind, user.history.dtype) == ([7, 299, 7, *stored], "known", np.int32)
    given = encoder.encode(query(features={"history": ["ad-0001"]}), click(7))
    assert (given.history.tolist(), given.history_count) == ([1], HistoryCount(known=1, unknown=0))
    stranger = encoder.encode(query(b"nobody"), click(7, user="nobody"))
    assert (stranger.history.tolist(), stranger.kind) == ([7], "known")
    assert encoder.encode(query(b"nobody"), click(7)).kind == "unknown"


def test_put_features_replace_all_stored_ones_and_a_requests_own_replace_them_one_by_one(encoder):
    put = Kind.USER, "user-05", {"features": {"country": "country-3", "age": 40}}
    user = encoder.encode(query(), put)
    assert (user.features.categorical.tolist(), user.features.multi[0].values.tolist(), user.kind) == (
        [[4]], [], "known")
    assert user.features.dense.tolist() == encoder.encode(query(b"new", {"age": 40})).features.dense.tolist()
    given = encoder.encode(query(features={"country": "country-1"}), put)
    assert (given.features.categorical.tolist(), given.features.dense.tolist()) == ([[2]], user.features.dense.tolist())
    assert user.history.tolist() == encoder.encode(query()).history.tolist()


def test_forgotten_user_is_unknown_until_something_new_is_said(encoder):
    put, forgotten = (Kind.USER, "user-05", {"features": {"age": 40}}), (Kind.FORGOTTEN, "user-05", {})
    user, nobody = encoder.encode(query(), put, click(7), forgotten), encoder.encode(query(b"nobody"))
    assert (user.kind, user.history.tolist()) == ("unknown", [])
    assert user.features.dense.tolist() == nobody.features.dense.tolist()
    assert user.features.categorical.tolist() == nobody.features.categorical.tolist()
    again = encoder.encode(query(), click(7), forgotten, click(9))
    assert (again.kind, again.history.tolist()) == ("known", [9])
